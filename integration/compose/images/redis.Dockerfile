# Stands in for redis: Debian's.
ARG BASE_IMAGE
FROM ${BASE_IMAGE}
RUN apt-get update -q -o Acquire::Retries=3 \
 && apt-get install -y -q -o Acquire::Retries=3 --no-install-recommends redis-server \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /data
CMD ["redis-server"]
