# Two stages: the first has pip and the build backend, the second only what runs.
FROM python:3.13-slim AS build
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/knock
COPY requirements.txt ./
RUN /opt/knock/bin/pip install --require-hashes -r requirements.txt
COPY requirements-build.txt ./
RUN pip install --require-hashes -r requirements-build.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
    && /opt/knock/bin/pip install --no-deps dist/*.whl \
    && /opt/knock/bin/python -m pip uninstall --yes pip

FROM python:3.13-slim
# A fixed number, so that files in a mounted volume keep their owner from one image to the next.
RUN groupadd --system --gid 10001 knock \
    && useradd --system --uid 10001 --gid knock --home-dir /data --shell /usr/sbin/nologin knock \
    && install --directory --owner knock --group knock --mode 0700 /data
COPY --from=build /opt/knock /opt/knock
ENV PATH=/opt/knock/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    PORT=8000 \
    DATA_DIR=/data
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
# http.client, not urllib: it takes no notice of a proxy that the environment may name.
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['PORT']), timeout=4); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]
STOPSIGNAL SIGTERM
# No shell in between: the signal that stops the container reaches Knock itself.
ENTRYPOINT ["mknock"]
CMD ["serve"]
