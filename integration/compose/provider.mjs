// The provider in a container of its own: it listens on loopback alone, so relays on the container's
// address let the others in, to the issuer and to the control port.

import net from "node:net";
import os from "node:os";

const { port, control_port } = JSON.parse(process.env.PROVIDER_OPTIONS);

const addresses = Object.values(os.networkInterfaces())
  .flat()
  .filter((address) => address.family === "IPv4" && !address.internal)
  .map((address) => address.address);

await import("../provider/provider.mjs");

for (const address of addresses) {
  for (const target of [port, control_port]) relay(address, target);
}

function relay(address, target) {
  const server = net.createServer((outside) => {
    const inside = net.connect(target, "127.0.0.1");
    outside.pipe(inside).pipe(outside);
    // What ends one ends the other.
    outside.on("error", () => inside.destroy());
    inside.on("error", () => outside.destroy());
  });
  server.listen(target, address);
}
