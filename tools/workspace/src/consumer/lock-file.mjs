const FILE = 'package-lock.json';

/** Adds an app to the lock file, as `npm install` would: its packages are all there, so nothing has to be installed. */
export function lockApp(tree, name, { dependencies, devDependencies }) {
  const text = tree.read(FILE, 'utf-8');
  if (text === null || text === undefined) return;
  const lock = JSON.parse(text);
  lock.packages[`apps/${name}`] = { name: `@lockstep/${name}`, version: '0.0.0', dependencies, ...(devDependencies === undefined ? {} : { devDependencies }) };
  lock.packages[`node_modules/@lockstep/${name}`] = { resolved: `apps/${name}`, link: true };
  const inOrder = Object.entries(lock.packages).toSorted(([a], [b]) => a.localeCompare(b, 'en'));
  tree.write(FILE, `${JSON.stringify({ ...lock, packages: Object.fromEntries(inOrder) }, null, 2)}\n`);
}
