/** The rings of a directed graph: each set of two or more nodes that reach each other. @param edges every node, and where it leads. */
export function ringsOf(edges: ReadonlyMap<string, ReadonlySet<string>>): ReadonlySet<string>[] {
  const reversed = new Map([...edges.keys()].map((node) => [node, new Set<string>()]));
  for (const [node, targets] of edges) for (const target of targets) reversed.get(target)?.add(node);
  const rings: ReadonlySet<string>[] = [];
  const done = new Set<string>();
  for (const [node, targets] of edges) {
    if (done.has(node) || targets.size === 0) continue;
    const before = reachable(node, reversed);
    const ring = new Set([...reachable(node, edges)].filter((other) => before.has(other)));
    for (const member of ring) done.add(member);
    if (ring.size > 1) rings.push(ring);
  }
  return rings;
}

function reachable(from: string, edges: ReadonlyMap<string, ReadonlySet<string>>): Set<string> {
  const reached = new Set([from]);
  // A set is walked to its end, with what is added on the way.
  for (const node of reached) for (const target of edges.get(node) ?? []) reached.add(target);
  return reached;
}
