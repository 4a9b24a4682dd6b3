/* Nx requires it, with whichever Node runs Nx: so it is CommonJS, and loads the rest. */
module.exports = async (tree, options) => {
  const { generateConsumer } = await import('./generate.mjs');
  return generateConsumer(tree, options);
};
