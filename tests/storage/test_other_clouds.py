"""Google Cloud Storage and Azure by fsspec, on emulators; skipped where the packages are not installed.

    pip install gcsfs gcp-storage-emulator adlfs
    npm install -g azurite

They are no requirements of the project: gcsfs asks for the fsspec of its own month.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

import pytest

from lineart.storage.backend import Backend
from lineart.storage.errors import StoreError
from lineart.storage.probe import probe_conditional_create
from lineart.storage.remote import FsspecBackend
from lineart.storage.testing import BackendSuite

_numbers = itertools.count()
# The key that the emulator is known by, and that opens nothing else.
_AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    give_up_s = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > give_up_s:
                raise
        time.sleep(0.1)


@pytest.fixture(scope="module")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    for name in ("gcsfs", "gcp_storage_emulator"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed; try: pip install gcsfs gcp-storage-emulator")
    port = free_port()
    command = [sys.executable, "-m", "gcp_storage_emulator", "start", "--in-memory", f"--port={port}"]
    with subprocess.Popen(
        [*command, "--host=127.0.0.1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            wait_for(port, process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    executable = os.environ.get("LINEART_TEST_AZURITE") or shutil.which("azurite-blob")
    if not executable or importlib.util.find_spec("adlfs") is None:
        pytest.skip(
            "no azurite-blob on PATH nor in LINEART_TEST_AZURITE, or no adlfs; try: pip install adlfs"
        )
    port, folder = free_port(), tmp_path_factory.mktemp("azurite")
    command = [executable, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(folder)]
    with subprocess.Popen(
        [*command, "--silent", "--skipApiVersionCheck", "--disableTelemetry"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            wait_for(port, process)
            yield (
                "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;"
                f"AccountKey={_AZURITE_KEY};BlobEndpoint=http://127.0.0.1:{port}/devstoreaccount1;"
            )
        finally:
            process.terminate()


class TestGoogle(BackendSuite):
    """This emulator does not know `ifGenerationMatch`, which gcsfs sends: what rests on it cannot be shown."""

    many = 50  # it takes a tenth of a second for a key
    test_create_replaces = None  # type: ignore[assignment]
    test_backend_breaks_after_fork = None  # type: ignore[assignment]
    test_create_race_has_not_exactly_one_winner = None  # type: ignore[assignment]

    def test_probe_accepts_a_service_that_ignores_the_condition(self, backend: Backend) -> None:
        with pytest.raises(StoreError, match="ignores conditional create"):
            probe_conditional_create(backend)

    @pytest.fixture
    def backend(self, gcs: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
        monkeypatch.setenv(
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false"
        )  # asks a service that is not emulated
        bucket = f"bucket-{next(_numbers)}"
        body = f'{{"name": "{bucket}"}}'.encode()
        request = urllib.request.Request(
            f"{gcs}/storage/v1/b?project=test", body, {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=60).close()
        backend = FsspecBackend(f"gs://{bucket}/store", {"token": "anon", "endpoint_url": gcs})
        yield backend
        backend.close()


class TestAzure(BackendSuite):
    races = 3

    def test_probe_refuses_it(self, backend: Backend) -> None:
        probe_conditional_create(backend)

    @pytest.fixture
    def backend(self, azure: str) -> Iterator[Backend]:
        from azure.storage.blob import BlobServiceClient

        container = f"container{next(_numbers)}"
        with BlobServiceClient.from_connection_string(azure) as client:
            client.create_container(container)
        backend = FsspecBackend(f"az://{container}/store", {"connection_string": azure})
        yield backend
        backend.close()
