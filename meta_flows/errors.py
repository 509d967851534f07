"""The catalogue of everything that can be wrong, and the exception that carries it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, ParamSpec, TypeVar

from meta_flows.models import Place, ValidationError


class Definition(NamedTuple):
    """One kind of error: `message` and `remedy` are format strings over the same facts."""

    title: str
    message: str
    remedy: str


CATALOGUE: dict[str, Definition] = {
    # Flows
    "MF101": Definition(
        "Python syntax error",
        "SyntaxError: {detail}",
        "Mend the syntax; `python -m py_compile {path}` shows the same error.",
    ),
    "MF102": Definition(
        "Unreadable source file",
        "cannot be read: {detail}",
        "Save the file as UTF-8, or declare its encoding in the first line, and make it readable.",
    ),
    "MF103": Definition(
        "Flow name claimed twice",
        "flow name '{name}' is also claimed at {others}",
        "Give each flow its own name: `@flow(name=...)`. Prefect would let them overwrite each other.",
    ),
    "MF104": Definition(
        "Flow name is not a literal",
        "the name of flow function '{function}' is computed: {expression}",
        "Write the name as a string literal, so that it is known without running the code.",
    ),
    "MF105": Definition(
        "Flow name not allowed",
        "flow name {name!r} is not allowed: {detail}",
        "Use a non-empty name without '/', '%', '&', '<' and '>': Prefect refuses those.",
    ),
    "MF106": Definition(
        "Flow cannot be loaded",
        "the flow cannot be loaded: {detail}",
        "Mend the import, or install what it needs here; `python {path}` shows more.",
    ),
    "MF107": Definition(
        "Deployment name claimed twice",
        "slug '{slug}' is also the slug of the flow at {others}",
        "Give each flow its own `slug:` in its deployment.yaml.",
    ),
    "MF108": Definition(
        "Imported module is broken",
        "imports {module}, which has a syntax error: {detail}",
        "Mend the imported file; the flow cannot run without it.",
    ),
    "MF109": Definition(
        "Nothing selected",
        "no flow matches {selection}",
        "`meta-flows discover` lists the flows; a selection is a glob over names, slugs, paths or deployment names.",
    ),
    "MF110": Definition(
        "No flows folder",
        "there is no folder {folder} in {root}",
        "Run in the repository's root, or name it with --root.",
    ),
    "MF111": Definition(
        "Bad ignore pattern",
        "'{pattern}' is no pattern: {detail}",
        "Correct the line; patterns are those of .gitignore.",
    ),
    # Configuration
    "MF201": Definition("YAML syntax error", "not valid YAML: {detail}", "Mend the YAML at the place named."),
    "MF202": Definition(
        "Unknown key", "unknown key '{key}'{suggestion}", "Remove it or correct its spelling; known keys here: {known}."
    ),
    "MF203": Definition(
        "Wrong value", "'{key}': {detail}", "Give it a value of the kind named; see docs/reference/configuration.md."
    ),
    "MF204": Definition(
        "Unknown environment",
        "there is no environment '{name}'{suggestion}",
        "Known environments: {known}. A new one is a new file in {folder}.",
    ),
    "MF205": Definition(
        "Bad schedule", "schedule '{schedule}': {detail}", "Correct it; crontab.guru explains cron expressions."
    ),
    "MF206": Definition(
        "Unknown time zone",
        "unknown time zone '{timezone}'{suggestion}",
        "Use an IANA name such as Europe/Berlin or UTC.",
    ),
    "MF207": Definition(
        "Schedules not told apart",
        "{detail}",
        "Give every schedule of a flow its own `slug:`; it is how a schedule keeps its runs when it changes.",
    ),
    "MF208": Definition(
        "Duplicate key", "key '{key}' stands here a second time, first on line {first}", "Remove one of them."
    ),
    "MF209": Definition(
        "Unknown placeholder",
        "nothing called '{{{{ {placeholder} }}}}' is known{suggestion}",
        "Use environment.*, flow.* or root, or prefect.blocks.* and prefect.variables.*, which the run fills in.",
    ),
    "MF210": Definition(
        "Kind not available",
        "kind '{kind}' needs {missing}",
        "Add it, or remove the kind from the flow's `kinds:`.",
    ),
    "MF211": Definition(
        "Unknown parameter",
        "flow '{flow}' has no parameter '{parameter}'{suggestion}",
        "Remove it or correct its spelling; its parameters: {known}. Prefect would accept it and fail the run.",
    ),
    "MF212": Definition(
        "Bad quantity",
        "'{value}' is not {expected}",
        "Write memory as 512Mi or 2Gi, and cpu as 500m or 0.5, as Kubernetes does.",
    ),
    "MF213": Definition(
        "Section for an unknown flow",
        "there is no flow '{name}' here{suggestion}",
        "Name a flow by its name or its function; this file speaks for: {known}.",
    ),
    "MF214": Definition(
        "Section is ambiguous",
        "'{key}' at the top of a file that speaks for {count} flows would apply to each of them",
        "Move it into that flow's section under `flows:`.",
    ),
    "MF215": Definition("Missing file", "{what} does not exist: {path}", "Create it, or correct the path."),
    "MF216": Definition("Unreadable file", "cannot be read: {detail}", "Save it as UTF-8, and make it readable."),
    # Environment files
    "MF301": Definition(
        "Secret in plain text",
        "'{key}' looks like a secret",
        "Store it in a Secret block and refer to it in deployment.yaml: "
        "job_variables: {{env: {{{key}: '{{{{ prefect.blocks.secret.{block} }}}}'}}}}.",
    ),
    "MF303": Definition(
        "Secret in a parameter",
        "parameter '{key}' looks like a secret",
        "Store it in a Secret block and let the flow load it: Secret.load('{block}').get().",
    ),
    "MF302": Definition(
        "Bad env file line", "not KEY=VALUE: {detail}", "Write one KEY=VALUE per line; quote values with spaces."
    ),
    # The Prefect server
    "MF401": Definition(
        "Server unreachable",
        "no Prefect server answers at {url}: {detail}",
        "Start it (`make server` for a local one), or correct prefect_api_url or PREFECT_API_URL.",
    ),
    "MF402": Definition(
        "Not authorised",
        "the Prefect server at {url} refuses us: {detail}",
        "Set PREFECT_API_KEY or PREFECT_API_AUTH_STRING to what that server expects.",
    ),
    "MF403": Definition(
        "Shell and file disagree",
        "the shell says {shell}, but environment '{environment}' says {file}",
        "Unset PREFECT_API_URL (or switch profile), or name the server with --api-url.",
    ),
    "MF404": Definition("Request refused", "the server refused {request}: {detail}", "Correct what the server names."),
    "MF405": Definition(
        "No server chosen",
        "this run is not on the server of environment '{environment}'",
        "Call inside `with meta_flows.connect(environment):`, or set PREFECT_API_URL.",
    ),
    "MF406": Definition(
        "Local server did not start",
        "the local server at {url} did not come up: {detail}",
        "Read {log}; is the port in use?",
    ),
    "MF407": Definition(
        "Work pool of another type",
        "work pool '{pool}' is of type '{live}', environment '{environment}' says '{desired}'",
        "Name another pool in environments/, or correct its type.",
    ),
    # Deploying
    "MF501": Definition(
        "Somebody else's deployment",
        "deployment '{key}' exists and is not owned by project '{project}'",
        "Rename ours with `slug:`, or take it over with --adopt: it keeps its id, its history and its pauses.",
    ),
    "MF502": Definition(
        "Not as planned after applying",
        "deployment '{key}' still differs: {detail}",
        "Somebody changed it meanwhile, or the server rewrites it; run the deploy again and compare.",
    ),
    "MF503": Definition(
        "Deployment failed", "deployment '{key}' was not changed: {detail}", "Mend the cause and deploy again."
    ),
    "MF504": Definition(
        "Refused: environment is strict",
        "environment '{environment}' is strict and {count} flow(s) cannot be deployed",
        "Mend what is listed above, or select only what is valid with --flow.",
    ),
    "MF505": Definition(
        "Git source not usable",
        "the git source cannot be pinned: {detail}",
        "Commit and push, or name `commit:` in the environment's source.",
    ),
    "MF509": Definition(
        "Unknown run parameter",
        "deployment '{deployment}' has no parameter '{parameter}'{suggestion}",
        "Remove it or correct its spelling; its parameters: {known}.",
    ),
    "MF506": Definition(
        "No such deployment",
        "no deployment {name} on {url}",
        "`make deploy-all` deploys; `meta-flows discover` lists what there is.",
    ),
    "MF507": Definition(
        "Run not finished",
        "run '{run}' is still {state} after {seconds:.0f} s{reason}",
        "Start a worker with `make worker`, or look at the run in the UI.",
    ),
    "MF510": Definition(
        "Plan is stale",
        "the plan {planned} is not what a deploy would do now; that would be plan {now}",
        "Somebody changed the server or the repository since; plan again and look at what is different.",
    ),
    "MF511": Definition(
        "Not restored",
        "{what} could not be brought back to what it was: {detail}",
        "Mend the cause, then `meta-flows rollback`: the release record knows what was there before.",
    ),
    "MF512": Definition(
        "Another deploy is writing",
        "environment '{environment}' is still being written to after waiting {seconds:.0f} s, by {holder}",
        "Wait for it to end and try again; if its process is gone for good, `meta-flows unlock`.",
    ),
    "MF513": Definition(
        "Too much would be deleted",
        "{count} of {of} deployments would be deleted, and the limit is {limit}: {names}",
        "If that is what you want, say so: --prune-limit 1, or prune_limit in the environment's file.",
    ),
    "MF514": Definition(
        "Project has no name",
        "nothing is deleted under a guessed name: '{project}' is only the name of the folder",
        "State `project:` in environments/defaults.yaml; it is who owns the deployments.",
    ),
    "MF515": Definition(
        "Replaces what is still wanted",
        "'{key}' says that it replaces '{replaced}', which the repository asks for too",
        "Take `replaces:` out of the one, or remove the other flow.",
    ),
    "MF516": Definition(
        "No such release",
        "there is no release '{release}' of environment '{environment}'{suggestion}",
        "`meta-flows releases` lists those that are kept.",
    ),
    "MF517": Definition(
        "Nothing to roll back to",
        "environment '{environment}' has no release before the current one",
        "`meta-flows releases` lists those that are kept; name one with --to.",
    ),
    "MF518": Definition(
        "Release record not readable",
        "block '{block}' is no release record of this version",
        "Use the version of meta-flows that wrote it, or delete the block: the release before it is then the current.",
    ),
    "MF519": Definition(
        "Lock lost",
        "the lock of environment '{environment}' was lost while writing",
        "The server was away for too long, or somebody used unlock; deploy again, which goes on from what is there.",
    ),
    "MF520": Definition(
        "Confirmation needed",
        "deleting deployments of '{environment}' needs a confirmation",
        "Look at it with --dry-run, then confirm with --confirm {environment}.",
    ),
    "MF521": Definition(
        "Cannot deploy a branch",
        "reconcile is to deploy a branch, but {detail}",
        "State `source: {{type: git, ...}}` and a branch in the environment's file, or another policy.",
    ),
    # Use
    "MF508": Definition(
        "Approval cannot be asked for",
        "environment '{environment}' requires approval, which this version cannot ask for",
        "Look at the plan with --dry-run; to deploy, take require_approval out of the environment's file.",
    ),
    # Images
    "MF601": Definition(
        "No Docker engine",
        "no Docker engine answers: {detail}",
        "Start Docker (`sudo systemctl start docker`, or Docker Desktop), or let DOCKER_HOST name an engine; "
        "`--kind python` deploys without one.",
    ),
    "MF602": Definition("Not a Dockerfile", "not a Dockerfile: {detail}", "Mend the line named."),
    "MF603": Definition(
        "Flow is not in its image",
        "runs look for {expected} in the image, but {dockerfile} puts it {found}",
        "Let WORKDIR and COPY keep the repository's layout (`WORKDIR /app`, `COPY flows/x flows/x`), and look whether "
        ".dockerignore hides the file.",
    ),
    "MF604": Definition(
        "No Dockerfile",
        "flow '{flow}' is deployed as an image, but has no Dockerfile",
        "Put a Dockerfile into the flow's folder, or take the kind out of `kinds:` in its deployment.yaml.",
    ),
    "MF605": Definition(
        "Registry does not answer",
        "registry of {repository}: {detail}",
        "Look whether `docker.registry` names it, whether it runs, and whether the engine trusts its certificate.",
    ),
    "MF606": Definition(
        "Registry refuses",
        "registry of {repository} refuses: {detail}",
        "`docker login` to it, as the user that runs this, and make sure that this user may push there.",
    ),
    "MF607": Definition(
        "Disk is full",
        "{repository}: {detail}",
        "Free space where the engine, or the registry, keeps its images, e.g. with `docker image prune`.",
    ),
    "MF608": Definition(
        "Image cannot be built",
        "image {image} failed at `{step}`: {detail}{output}",
        "Mend the instruction; `make build-images FLOW=... VERBOSE=true` shows the whole output.",
    ),
    "MF609": Definition(
        "No base image",
        "base image {base} cannot be had: {detail}",
        "Correct its name, `docker login` to its registry, or name another one with `docker.build_args.BASE_IMAGE`.",
    ),
    "MF610": Definition(
        "Relative volume",
        "volume '{volume}' is relative to the repository, which is not on the worker's machine with a git source",
        "Name an absolute path of the worker's machine, or a Docker volume.",
    ),
    "MF611": Definition(
        "No registry",
        "environment '{environment}' has no registry to push to or pull from",
        "Name one as `docker.registry` in the environment's file, or with REGISTRY=... (shell: DOCKER_REGISTRY).",
    ),
    "MF612": Definition(
        "Image is not built", "the engine has no image {image}", "Build it first: `make build-images`."
    ),
    "MF613": Definition(
        "Image is not in the registry",
        "the registry has no image {image}",
        "Push it from where it was built: `make push-images`. Its tag says what the files here are.",
    ),
    "MF902": Definition(
        "Unexpected failure",
        "this should not have happened: {detail}",
        "Run it again with --verbose, which shows where, and report it.",
    ),
    "MF901": Definition("Wrong use", "{detail}", "`meta-flows --help` shows what there is."),
}


def problem(code: str, place: Place | None = None, **facts: object) -> ValidationError:
    """Fill in one entry of the catalogue.

    Args:
        code: Key of `CATALOGUE`.
        place: Where it is, if it stands in a file.
        **facts: What the entry's format strings name.
    """
    definition = CATALOGUE[code]
    return ValidationError(
        code=code,
        message=definition.message.format(**facts),
        remedy=definition.remedy.format(**facts),
        file_path=place.path if place else None,
        line_number=place.line if place else None,
        column_number=place.column if place else None,
    )


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`, did you mean 'x'?` for the nearest of `known`, or nothing."""
    from difflib import get_close_matches

    nearest = get_close_matches(word, list(known), n=1)
    return f", did you mean '{nearest[0]}'?" if nearest else ""


class MetaFlowsError(Exception):
    """Something was refused; `errors` says all that is wrong, each with its code, place and remedy.

    Attributes:
        exit_code: What a command ends with: 1 for something invalid or failed, 2 for wrong use.
    """

    def __init__(self, errors: Iterable[ValidationError], exit_code: int = 1) -> None:
        self.errors = tuple(errors)
        self.exit_code = exit_code
        super().__init__("\n".join(str(error) for error in self.errors))


def refuse(code: str, place: Place | None = None, **facts: object) -> MetaFlowsError:
    """The exception for one entry of the catalogue."""
    return MetaFlowsError([problem(code, place, **facts)], exit_code=2 if code in ("MF204", "MF901") else 1)


T = TypeVar("T")
P = ParamSpec("P")


def outcome(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | MetaFlowsError:
    """What a function returns, or why it refuses."""
    try:
        return function(*args, **kwargs)
    except MetaFlowsError as error:
        return error
