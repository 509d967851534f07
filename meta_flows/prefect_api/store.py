"""The engine's `Store` on a Prefect server.

Bodies are the API's own JSON. The client's models would add defaults that no file declares, and parsing them costs more
than the requests do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import groupby
from typing import Any

import httpx
import pydantic
from prefect.blocks.system import Secret
from prefect.exceptions import PrefectException

from meta_flows.diagnostics import MetaFlowsError, refuse
from meta_flows.engine import Limit, Writer, release_name, unguarded
from meta_flows.models import Change, LiveResource, Ownership, Release
from meta_flows.prefect_api import compat
from meta_flows.prefect_api.connection import (
    Api,
    Transport,
    briefly,
    certificates,
    client,
    is_brief,
    request,
    translate_http_errors,
)
from meta_flows.resources import TYPES, Spec, read_all
from meta_flows.resources.deployment import find, read_flow_ids
from meta_flows.resources.resource_type import PAGE
from meta_flows.resources.work_pool import read_bodies

KEPT = 20
"""How many succeeded releases of an environment stay on the server, and how many of the others."""

SHORTEST_LEASE = 60
"""Seconds; the server refuses shorter ones."""

GONE = object()
"""Stands for the answer where the server has no such object, or does not give it."""


@contextmanager
def _valid_answers() -> Iterator[None]:
    """Refuse an answer of another shape than the API's; usable as a decorator."""
    try:
        yield
    except (KeyError, TypeError, IndexError, AttributeError, pydantic.ValidationError) as error:
        detail = f"the answer is not the API's: {type(error).__name__} {error}"[:300]
        raise refuse("MF404", request="what was asked", detail=detail) from error


class PrefectStore:
    """A Prefect server; `guard` is called before each request that writes a resource."""

    def __init__(self, api: Api, transport: Transport) -> None:
        self.api = api
        self.guard: Callable[[], None] = unguarded
        self._transport = transport
        self._flow_ids: dict[str, str] = {}

    def send(self, method: str, path: str, body: Any = None) -> Any:
        """Make one request and return its answer; once the server did not answer, try each next request once, for 5 s.

        Raises:
            MetaFlowsError: The server could not be reached, or refused the request.
        """
        try:
            return request(self.api, method, path, body)
        except MetaFlowsError as error:
            if error.errors[0].code == "MF401" and not is_brief():
                self._transport.hurried = True
            raise

    def briefly(self, seconds: float) -> AbstractContextManager[None]:
        """Try each request within this context once, for this many seconds at most."""
        return briefly(seconds)

    def _write(self, method: str, path: str, body: Any = None) -> Any:
        """Make a request that writes a resource, unless the guard raises."""
        self.guard()
        return self.send(method, path, body)

    # Resources

    @_valid_answers()
    def read(self, addresses: Collection[str]) -> dict[str, LiveResource]:
        """Return the resources at these addresses that exist, by address."""
        parts = sorted(address.partition("/")[::2] for address in addresses)
        return _by_address(
            item
            for name, group in groupby(parts, key=lambda part: part[0])
            for item in TYPES[name].read(self.send, {key for _, key in group})
        )

    @_valid_answers()
    def read_owned(self, ownership: Ownership) -> dict[str, LiveResource]:
        """Return the resources that carry our tags, by address."""
        readers = (item.read_owned for item in TYPES.values() if item.read_owned)
        return _by_address(item for read in readers for item in read(self.send, ownership))

    @_valid_answers()
    def create(self, change: Change) -> None:
        """Create a resource as its change says."""
        TYPES[change.type].create(self._write, change, self._flow_ids)

    @_valid_answers()
    def update(self, live: LiveResource, target: Spec) -> None:
        """Send what differs between a resource and its target."""
        TYPES[live.type].update(self._write, live, target)

    def delete(self, live: LiveResource) -> None:
        """Delete a resource."""
        self._write("DELETE", TYPES[live.type].path(live))

    @_valid_answers()
    def read_flow_ids(self, names: Collection[str]) -> Mapping[str, str]:
        """Return the ids of the flows of these names that the server knows."""
        found = read_flow_ids(self.send, names)
        self._flow_ids |= found
        return found

    @_valid_answers()
    def remove_unused(
        self, pools: Collection[str], queues: Collection[tuple[str, str]], flows: Collection[str]
    ) -> None:
        """Delete these work pools, queues and flows, unless there are deployments or runs of them."""
        for pool, queue in queues:
            if pool not in pools and not self._is_used(work_pool_queues=_named(queue), work_pools=_named(pool)):
                self._write("DELETE", f"/work_pools/{pool}/queues/{queue}")
        for pool in (body["name"] for body in read_bodies(self.send, pools)):
            if not self._is_used(work_pools=_named(pool)):
                self._write("DELETE", f"/work_pools/{pool}")
        for flow, flow_id in read_flow_ids(self.send, flows).items():
            if not self._is_used(flows=_named(flow)):
                self._write("DELETE", f"/flows/{flow_id}")
                self._flow_ids.pop(flow, None)

    def _is_used(self, **found: Any) -> bool:
        return any(self.send("POST", f"/{kind}/count", found) for kind in ("deployments", "flow_runs"))

    @_valid_answers()
    def read_work_queues(self, pool: str) -> set[str]:
        """Return the names of a work pool's queues."""
        return {queue["name"] for queue in read_all(self.send, f"work_pools/{pool}/queues")}

    @_valid_answers()
    def read_deployments_in(self, pool: str) -> dict[str, LiveResource]:
        """Return the deployments in a work pool, whatever project owns them, by address."""
        return _by_address(find(self.send, work_pools=_named(pool)))

    def default_job_template(self, pool_type: str) -> Spec:
        """Return the base job template that work pools of a type have by default."""
        return compat.default_job_template(pool_type)

    # Releases, as one Secret block each. Pre-images can hold secrets that operators typed, so the record is a Secret
    # whose value is a JSON string: that is masked in the UI and the API. A Secret that holds a mapping would show in
    # clear.

    def latest_release(self, ownership: Ownership) -> Release | None:
        """Return the newest release that was not rejected.

        Raises:
            MetaFlowsError: MF518, its record cannot be read by this version.
        """
        for limit in (1, PAGE):  # a record can be large, and the newest one is seldom rejected
            for name, release in self.read_releases(ownership, limit):
                if release is None:
                    raise refuse("MF518", block=name)
                if release.state != "rejected":
                    return release
        return None

    def read_releases(self, ownership: Ownership, limit: int = PAGE) -> list[tuple[str, Release | None]]:
        """Return the newest releases by the names of their blocks, newest first; None for an unreadable one."""
        documents = self._documents(release_name(ownership), include_secrets=True, limit=limit)
        return [(document["name"], _release(document)) for document in documents]

    def read_release(self, release: Release) -> Release | None:
        """Return the record of a release as it is now; None if it is gone."""
        documents = self._documents(_name(release), include_secrets=True)
        return _release(documents[0]) if documents else None

    def save_release(self, release: Release) -> None:
        """Record a release that is new."""
        try:
            with translate_http_errors():
                try:
                    Secret(value=release.model_dump_json()).save(_name(release), overwrite=True)
                except (PrefectException, ValueError, TypeError, KeyError) as error:  # of malformed answers
                    if isinstance(error, httpx.HTTPError):
                        raise
                    detail = f"{type(error).__name__}: {error}"
                    raise refuse("MF404", request=f"saving block {_name(release)}", detail=detail) from error
        except MetaFlowsError:  # where only the answer was lost, the server refuses the retry
            saved = self.read_release(release)
            if saved is None or saved.model_dump_json() != release.model_dump_json():
                raise

    def update_release(self, release: Release) -> None:
        """Record the progress of a release, in two requests; create the record again if it is gone."""
        documents = self._documents(_name(release))
        if not documents:
            self.save_release(release)
        for document in documents:
            body = {"data": {"value": release.model_dump_json()}, "merge_existing_data": False}
            self.send("PATCH", f"/block_documents/{document['id']}", body)

    def delete_release(self, release: Release) -> None:
        """Delete the record of a release."""
        for document in self._documents(_name(release)):
            self.send("DELETE", f"/block_documents/{document['id']}")

    def forget_old_releases(self, ownership: Ownership) -> None:
        """Delete all but the 20 newest releases that succeeded, and the 20 newest others.

        Only the records say which succeeded, and they are large. So they are read only once there are more than 40.
        """
        documents = self._documents(release_name(ownership))
        if len(documents) <= 2 * KEPT:
            return
        ids = {document["name"]: document["id"] for document in documents}
        found = self.read_releases(ownership)
        succeeded = [name for name, release in found if release and release.state == "succeeded"]
        others = [name for name, _ in found if name not in succeeded]
        for name in (*succeeded[KEPT:], *others[KEPT:]):
            self.send("DELETE", f"/block_documents/{ids[name]}")

    @_valid_answers()
    def _documents(self, prefix: str, **body: Any) -> list[dict[str, Any]]:
        """Return the blocks whose names begin with a prefix, newest first."""
        found = {"name": {"like_": f"{prefix}%"}}
        return [
            document
            for document in read_all(self.send, "block_documents", block_documents=found, sort="NAME_DESC", **body)
            if document["name"].startswith(prefix) and document["id"]
        ]

    # The lock

    def limit(self, name: str) -> Limit:
        """Return the limit of this name; create it if there is none."""
        found = self.find_limit(name)
        if found is None:
            try:
                self.send("POST", "/v2/concurrency_limits/", {"name": name, "limit": 1})
            except MetaFlowsError as error:
                if _status(error) != httpx.codes.CONFLICT:  # another deploy was quicker
                    raise
            found = self.find_limit(name)
        if found is None:
            raise refuse("MF404", request=f"GET /v2/concurrency_limits/{name}", detail="HTTP 404 after its creation")
        return found

    @_valid_answers()
    def find_limit(self, name: str) -> Limit | None:
        """Return the limit of this name, if there is one."""
        body = self._unless((404,), "GET", f"/v2/concurrency_limits/{name}")
        return None if body is GONE else Limit(body["id"], bool(body["active_slots"]))

    def delete_limit(self, limit_id: str) -> None:
        """Delete a limit."""
        self.send("DELETE", f"/v2/concurrency_limits/{limit_id}")

    @_valid_answers()
    def acquire(self, name: str, seconds: float) -> str | None:
        """Take a limit's slot for a time, 60 s at least, and return the lease; None while another run has it."""
        body = {"names": [name], "slots": 1, "mode": "concurrency", "lease_duration": max(seconds, SHORTEST_LEASE)}
        answer = self._unless((423,), "POST", "/v2/concurrency_limits/increment-with-lease", body)
        return None if answer is GONE else str(answer["lease_id"])

    def renew(self, lease: str, seconds: float) -> bool:
        """Keep a slot for more seconds; return False if the lease has ended."""
        path = f"/v2/concurrency_limits/leases/{lease}/renew"
        return self._unless((404, 410), "POST", path, {"lease_duration": max(seconds, SHORTEST_LEASE)}) is not GONE

    def release(self, lease: str) -> None:
        """Release a slot."""
        self.send("POST", "/v2/concurrency_limits/decrement-with-lease", {"lease_id": lease})

    @_valid_answers()
    def writers(self, tag: str) -> list[Writer]:
        """Return the active runs that carry a tag, newest first."""
        found = {"tags": {"all_": [tag]}, "state": {"type": {"any_": ["RUNNING", "CANCELLING"]}}}
        return [
            Writer(
                run["id"],
                run["name"],
                run["updated"],
                run["start_time"] or "",
                compat.url_for("flow-run", obj_id=run["id"]) or "",
            )
            for run in read_all(self.send, "flow_runs", flow_runs=found, sort="START_TIME_DESC")
        ]

    def tag_run(self, run_id: str, tags: Sequence[str]) -> None:
        """Set a run's tags."""
        self.send("PATCH", f"/flow_runs/{run_id}", {"tags": list(tags)})

    def mark_crashed(self, run_id: str) -> None:
        """Set a run whose process has ended silently to the state `Crashed`."""
        message = "Its process ended without a word: its lease ran out."
        state = {"type": "CRASHED", "name": "Crashed", "message": message}
        self.send("POST", f"/flow_runs/{run_id}/set_state", {"state": state, "force": True})

    def _unless(self, statuses: tuple[int, ...], method: str, path: str, body: Any = None) -> Any:
        """Make a request; return `GONE` where the server answers with one of these statuses."""
        try:
            return self.send(method, path, body)
        except MetaFlowsError as error:
            if _status(error) in statuses:
                return GONE
            raise


@contextmanager
def connected_store() -> Iterator[PrefectStore]:
    """Open the server in use as a store."""
    transport = Transport(verify=certificates())
    with client(transport) as api:
        yield PrefectStore(api, transport)


def _status(error: MetaFlowsError) -> int | None:
    """Return the HTTP status that caused an error, if one did."""
    return getattr(getattr(error.__cause__, "response", None), "status_code", None)


def _by_address(resources: Iterable[LiveResource]) -> dict[str, LiveResource]:
    return {item.address: item for item in resources}


def _named(name: str) -> dict[str, Any]:
    return {"name": {"any_": [name]}}


def _release(document: Mapping[str, Any]) -> Release | None:
    try:
        return Release.model_validate_json(document["data"]["value"])
    except (pydantic.ValidationError, KeyError, TypeError):
        return None


def _name(release: Release) -> str:
    return release_name(Ownership(release.project, release.environment), release.id)
