// Diagrams: GitHub draws blocks in the language `mermaid`, and so does this site. Without the library they stay text.
const blocks = document.querySelectorAll("code.language-mermaid");
if (blocks.length > 0) {
  const { default: mermaid } = await import("https://cdn.jsdelivr.net/npm/mermaid@11.4.1/dist/mermaid.esm.min.mjs");
  mermaid.initialize({ startOnLoad: false });
  const diagrams = [...blocks].map((block) => {
    const diagram = document.createElement("div");
    diagram.textContent = block.textContent;
    block.closest("pre").replaceWith(diagram);
    return diagram;
  });
  await mermaid.run({ nodes: diagrams });
}
