# One image for the three apps and the consumers; the command says which: node --max-semi-space-size=16 --max-old-space-size=1024 apps/<app>/src/main.ts. Node runs the TypeScript itself, so there
# is no build; the workspace keeps its layout, because node_modules links to packages/ (Node strips no types below node_modules).

# Only what decides which packages are installed, so that a change of the source does not install them again.
FROM node:24.21.0-bookworm-slim AS manifests
WORKDIR /source
COPY . .
RUN mkdir /manifests && cp package-lock.json .npmrc /manifests/ && find . -name package.json -exec cp --parents {} /manifests/ \;

# npm links the workspaces' folders, which are empty here and filled below. The apps need no package's install script.
FROM node:24.21.0-bookworm-slim AS dependencies
WORKDIR /lockstep
COPY --from=manifests /manifests ./
RUN npm ci --omit=dev --ignore-scripts -w @lockstep/ingress -w @lockstep/projector -w @lockstep/scheduler -w @lockstep/deals-won -w @lockstep/history && npm cache clean --force

FROM node:24.21.0-bookworm-slim
# Two heaps of the C library's instead of one for each thread: 30 MB less over 1,000,000 rows (docs/benchmarks.md).
ENV NODE_ENV=production NODE_COMPILE_CACHE=/tmp/node-compile-cache MALLOC_ARENA_MAX=2
WORKDIR /lockstep
COPY --from=dependencies /lockstep ./
COPY packages ./packages
COPY apps ./apps
USER node
