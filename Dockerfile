# The system's own image: servers, background services and workers of docker-compose.yml all run it.
ARG BASE_IMAGE=python:3.12.11-slim

FROM ${BASE_IMAGE} AS build
RUN python -m venv /opt/meta-flows
ENV PATH=/opt/meta-flows/bin:$PATH
WORKDIR /build
COPY requirements-stack.txt .
RUN pip install --no-cache-dir --no-deps --require-hashes --requirement requirements-stack.txt
COPY pyproject.toml README.md ./
COPY meta_flows meta_flows
RUN pip install --no-cache-dir --no-deps --no-build-isolation .

FROM ${BASE_IMAGE}
# A git source is cloned by the run, and a release names the commit that it came from.
RUN command -v git || { apt-get update && apt-get install --yes --no-install-recommends git && rm -rf /var/lib/apt/lists/*; }
COPY --from=build /opt/meta-flows /opt/meta-flows
# Whichever user it runs as, one without a line in /etc/passwd included, has a name and a place to write.
ENV PATH=/opt/meta-flows/bin:$PATH HOME=/tmp USER=meta-flows PREFECT_HOME=/tmp/prefect PREFECT_UI_STATIC_DIRECTORY=/tmp/ui \
    PYTHONUNBUFFERED=1 PREFECT_SERVER_ANALYTICS_ENABLED=false DO_NOT_TRACK=1
USER 1000:1000
CMD ["meta-flows", "--help"]
