import { build } from 'esbuild';

// Our own packages are inlined, npm packages stay external: a whole bundle fails on unzipper's optional S3 client.
const [entry, outfile] = process.argv.slice(2);
const ours = /^(@lockstep\/|\.|\/)/;

await build({
  entryPoints: [entry],
  outfile,
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node24',
  sourcemap: true,
  logLevel: 'warning',
  plugins: [
    {
      name: 'npm-external',
      setup(b) {
        b.onResolve({ filter: /.*/ }, (args) =>
          args.kind !== 'entry-point' && !ours.test(args.path) ? { path: args.path, external: true } : undefined,
        );
      },
    },
  ],
});
