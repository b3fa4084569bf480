# Stands in for python: Debian's. The packages are mounted.
ARG BASE_IMAGE
FROM ${BASE_IMAGE}
RUN apt-get update -q -o Acquire::Retries=3 \
 && apt-get install -y -q -o Acquire::Retries=3 --no-install-recommends python3 \
 && rm -rf /var/lib/apt/lists/*
CMD ["python3", "--version"]
