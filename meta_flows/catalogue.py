"""The catalogue of everything that can be wrong: what it is called, what is said, how it is mended, an example."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Definition(NamedTuple):
    """One kind of error.

    Attributes:
        message: What is said; `message` and `remedy` are format strings over the same facts.
        example: What brings it about.
        severity: An `error` refuses the thing it names, a `warning` only tells.
    """

    title: str
    message: str
    remedy: str
    example: str
    severity: Literal["error", "warning"] = "error"


CATALOGUE: dict[str, Definition] = {
    # Flows, and what they import
    "MF101": Definition(
        "Python syntax error",
        "SyntaxError: {detail}",
        "Mend the syntax; `python -m py_compile {path}` shows the same error.",
        "def report(:\n    pass",
    ),
    "MF102": Definition(
        "Unreadable source file",
        "cannot be read: {detail}",
        "Save the file as UTF-8, or declare its encoding in the first line, and make it readable.",
        "# -*- coding: utf-9 -*-",
    ),
    "MF103": Definition(
        "Flow name claimed twice",
        "flow name '{name}' is also claimed at {others}",
        "Give each flow its own name: `@flow(name=...)`. Prefect would let them overwrite each other.",
        '@flow(name="sales")   # flows/a/workflow.py\n@flow(name="sales")   # flows/b/workflow.py',
    ),
    "MF104": Definition(
        "Flow name is not a literal",
        "the name of flow function '{function}' is computed: {expression}",
        "Write the name as a string literal, so that it is known without running the code.",
        '@flow(name=f"sales-{REGION}")\ndef sales(): ...',
    ),
    "MF105": Definition(
        "Flow name not allowed",
        "flow name {name!r} is not allowed: {detail}",
        "Use a non-empty string without '/', '%', '&', '<' and '>': Prefect refuses those.",
        '@flow(name="sales/daily")\ndef sales(): ...',
    ),
    "MF106": Definition(
        "Flow cannot be loaded",
        "the flow cannot be loaded: {detail}",
        "Mend the import, or install what it needs here; `PYTHONPATH=. python {path}` shows more.",
        "import pandsa  # ModuleNotFoundError\n\n@flow\ndef sales(): ...",
    ),
    "MF107": Definition(
        "Deployment name claimed twice",
        "slug '{slug}' is also the slug of the flow at {others}",
        "Give each flow its own `slug:` in its deployment.yaml.",
        "slug: sales   # flows/a/deployment.yaml\nslug: sales   # flows/b/deployment.yaml",
    ),
    "MF108": Definition(
        "Imported module is broken",
        "imports {module}, which Python cannot read: {detail}",
        "Mend the imported file; the flow cannot run without it.",
        "from flows.shared.tables import read   # flows/shared/tables.py has a syntax error",
    ),
    "MF109": Definition(
        "Nothing selected",
        "no flow matches {selection}",
        "`meta-flows discover` lists the flows; a selection is a glob over names, slugs, paths or deployment names.",
        "meta-flows deploy --flow rpa9",
    ),
    "MF110": Definition(
        "No flows folder",
        "there is no folder {folder} in {root}",
        "Run in the repository's root, or name it with --root.",
        "meta-flows discover --root somewhere-else",
    ),
    "MF111": Definition(
        "Bad ignore pattern",
        "'{pattern}' is no pattern: {detail}",
        "Correct the line; patterns are those of .gitignore.",
        "[z-a]   # .prefectignore",
    ),
    "MF112": Definition(
        "Flow cannot be deployed",
        "flow function '{function}' is {where}: no deployment can name it",
        "Move it to the top of the module, or make it a static method; a flow that only other flows call may stay.",
        "def make():\n    @flow\n    def sales(): ...",
        "warning",
    ),
    "MF113": Definition(
        "Decorator not understood",
        "@flow of '{function}': {detail}{suggestion}",
        "Correct it; Prefect would raise when the module is imported, or behave as nobody meant.",
        "@flow(retry=3)   # retries\ndef sales(): ...",
    ),
    "MF114": Definition(
        "Configuration without a flow",
        "no flow is found in {folder}, which this file is to configure",
        "Put Prefect's @flow on the function, or delete the file; `meta-flows discover` shows what is found.",
        "slug: sales   # deployment.yaml, and workflow.py has no @flow",
    ),
    "MF115": Definition(
        "Parameter name not allowed",
        "parameter '{parameter}' of '{function}': {detail}",
        "Give it another name.",
        "@flow\ndef sales(_limit: int = 10): ...",
    ),
    "MF116": Definition(
        "Default does not fit",
        "parameter '{parameter}' of '{function}' is declared as {annotation}, and its default is {default}",
        "Correct the default or the annotation: Prefect checks defaults too, so a run that does not set it fails.",
        "@flow\ndef sales(region: str = None): ...",
    ),
    "MF117": Definition(
        "Documented parameter does not exist",
        "the docstring of '{function}' describes '{parameter}', which is no parameter{suggestion}",
        "Correct the docstring; the run form shows what it says of each parameter.",
        '@flow\ndef sales(region: str):\n    """Sum up.\n\n    Args:\n        regoin: Where.\n    """',
        "warning",
    ),
    "MF118": Definition(
        "Parameter cannot be given",
        "parameter '{parameter}' of '{function}' is {annotation}: no run can be given one, and it has no default",
        "Give it a default, or take the name of what is meant, and look it up in the flow.",
        "@flow\ndef sales(convert: Callable[[str], int]): ...",
    ),
    "MF121": Definition(
        "Import is not declared",
        "imports {module}, which nothing in {files} provides",
        "Add `{distribution}` there: what is installed here may be missing where runs are.",
        "import yaml   # and requirements.txt has no pyyaml",
    ),
    "MF122": Definition(
        "Local import leads nowhere",
        "imports {module}, and there is no {missing} in the repository",
        "Correct the name, or add the file; each run would fail with ModuleNotFoundError.",
        "from flows.shared import tabels",
    ),
    "MF123": Definition(
        "Requirements contradict each other",
        "{name}{here} contradicts {name}{there} at {other}",
        "Agree on one: no environment can have both.",
        "pandas<2   # requirements.txt\npandas>=2.2   # flows/sales/requirements.txt",
        "warning",
    ),
    "MF124": Definition(
        "Another version is installed",
        "{requirement} is required, and {installed} is installed here",
        "Install what is required, or correct the requirement: checks made here say little about such runs.",
        "pandas<2   # and 2.2.3 is installed",
        "warning",
    ),
    "MF125": Definition(
        "Requirement not understood",
        "{detail}",
        "Correct the line.",
        "pandas=>2   # requirements.txt",
    ),
    # Configuration
    "MF201": Definition(
        "YAML syntax error",
        "not valid YAML: {detail}",
        "Mend the YAML at the place named.",
        "kinds: [python   # deployment.yaml",
    ),
    "MF202": Definition(
        "Unknown key",
        "unknown key '{key}'{suggestion}",
        "Remove it or correct its spelling; known keys here: {known}.",
        "schedule:   # deployment.yaml\n  - cron: 0 6 * * *",
    ),
    "MF203": Definition(
        "Wrong value",
        "'{key}': {detail}",
        "Give it a value of the kind named; see docs/reference/configuration.md.",
        "concurrency_limit: one   # deployment.yaml",
    ),
    "MF204": Definition(
        "Unknown environment",
        "there is no environment '{name}'{suggestion}",
        "Known environments: {known}. A new one is a new file in {folder}.",
        "meta-flows deploy --environment prodution",
    ),
    "MF205": Definition(
        "Bad schedule",
        "schedule '{schedule}': {detail}",
        "Correct it; crontab.guru explains cron expressions, RFC 5545 recurrence rules.",
        'schedules:\n  - cron: "0 25 * * *"',
    ),
    "MF206": Definition(
        "Unknown time zone",
        "unknown time zone '{timezone}'{suggestion}",
        "Use an IANA name such as Europe/Berlin or UTC.",
        'schedules:\n  - cron: "0 6 * * *"\n    timezone: Europe/Belin',
    ),
    "MF207": Definition(
        "Schedules not told apart",
        "{detail}",
        "Give every schedule of a flow its own `slug:`; it is how a schedule keeps its runs when it changes.",
        'schedules:\n  - cron: "0 6 * * *"\n  - cron: "0 18 * * *"',
    ),
    "MF208": Definition(
        "Duplicate key",
        "key '{key}' stands here a second time, first on line {first}",
        "Remove one of them.",
        "tags: [sales]\ntags: [rpa]",
    ),
    "MF209": Definition(
        "Unknown placeholder",
        "nothing called '{{{{ {placeholder} }}}}' is known{suggestion}",
        "Use environment.*, flow.*, image.*, limits.* or root; or prefect.blocks.* and prefect.variables.* for runs.",
        'job_variables:\n  image: "{{ image.refrence }}"',
    ),
    "MF210": Definition(
        "Kind not available",
        "kind '{kind}' needs {missing}",
        "Add it, or remove the kind from the flow's `kinds:`.",
        "kinds: [python, kubernetes]",
    ),
    "MF211": Definition(
        "Unknown parameter",
        "flow '{flow}' has no parameter '{parameter}'{suggestion}",
        "Remove it or correct its spelling; its parameters: {known}. Prefect would accept it and fail the run.",
        "parameters:\n  batchsize: 100   # the flow has batch_size",
    ),
    "MF212": Definition(
        "Bad quantity",
        "'{value}' is not {expected}",
        "Write memory as 512Mi or 2Gi, and cpu as 500m or 0.5, as Kubernetes does.",
        "resource_limits:\n  memory: 512m   # half a byte to Kubernetes",
    ),
    "MF213": Definition(
        "Section for an unknown flow",
        "there is no flow '{name}' here{suggestion}",
        "Name a flow by its name or its function; this file speaks for: {known}.",
        "flows:\n  slaes: {}   # deployment.yaml",
    ),
    "MF214": Definition(
        "Section is ambiguous",
        "'{key}' at the top of a file that speaks for {count} flows would apply to each of them",
        "Move it into that flow's section under `flows:`.",
        "slug: sales   # deployment.yaml of a folder with two flows",
    ),
    "MF215": Definition(
        "Missing file",
        "{what} does not exist: {path}",
        "Create it, or correct the path.",
        "DEPLOYMENT_CONFIG_PATH=conf meta-flows deploy   # there is no folder conf",
    ),
    "MF216": Definition(
        "Unreadable file",
        "cannot be read: {detail}",
        "Save it as UTF-8, and make it readable.",
        "description: caf\\xe9   # Latin-1, not UTF-8",
    ),
    "MF220": Definition(
        "Parameter does not fit",
        "parameter '{parameter}': {detail}",
        "Give it a value that the flow's signature takes; Prefect checks it when a run starts, and fails the run.",
        "parameters:\n  batch_size: many",
    ),
    "MF221": Definition(
        "Scheduled runs lack a parameter",
        "schedule '{schedule}' starts runs without parameter '{parameter}', which has no default",
        "State it under `parameters:` of the flow or the schedule, or give it a default.",
        '@flow\ndef sales(region: str): ...\n\nschedules:   # deployment.yaml\n  - cron: "0 6 * * *"',
    ),
    "MF222": Definition(
        "Schedule never fires",
        "schedule '{schedule}': '{rule}' never comes",
        "Correct it: there is no such day.",
        'schedules:\n  - cron: "0 0 30 2 *"',
    ),
    "MF223": Definition(
        "Schedule fires very often",
        "schedule '{schedule}' starts a run every {seconds:g} s",
        "Prefect plans runs a minute or more ahead; let one run loop instead, or use events.",
        "schedules:\n  - interval: 5",
        "warning",
    ),
    "MF224": Definition(
        "Schedule has ended",
        "schedule '{schedule}' has fired for the last time: '{rule}'",
        "Remove it, or let it end later.",
        "schedules:\n  - rrule: FREQ=DAILY;UNTIL=20200101T000000Z",
        "warning",
    ),
    "MF225": Definition(
        "Parameters are too large",
        "the parameters of {what} take {size} bytes as JSON; the server takes {limit}",
        "Put the data where the flow can read it, and pass its address.",
        "parameters:\n  rows: [...]   # 5 MB of it",
    ),
    # Environment files and secrets
    "MF301": Definition(
        "Secret in plain text",
        "'{key}' looks like a secret",
        "Store it in a Secret block and refer to it in deployment.yaml: job_variables: {{env: {{{key}: '{{{{ "
        "prefect.blocks.secret.{block} }}}}'}}}}.",
        "DB_PASSWORD=hunter2   # .env.production",
    ),
    "MF302": Definition(
        "Bad env file line",
        "not KEY=VALUE: {detail}",
        "Write one KEY=VALUE per line; quote values with spaces.",
        "REGION north   # .env.production",
    ),
    "MF303": Definition(
        "Secret in a parameter",
        "parameter '{key}' looks like a secret",
        "Store it in a Secret block and let the flow load it: Secret.load('{block}').get().",
        "parameters:\n  api_key: 8f2b9c...",
    ),
    "MF304": Definition(
        "Variable stated twice",
        "'{key}' stands here a second time with another value, first on line {first}",
        "Remove one of them: the last one would win.",
        "REGION=north\nREGION=south   # .env.production",
    ),
    "MF305": Definition(
        "Variable is missing",
        "'{key}' is in {example}, and nothing states it for environment '{environment}'",
        "State it in {file}, or a secret by its block in job_variables.env; take out of the example what nobody needs.",
        "REGION=   # .env.example, and .env.production does not have it",
        "warning",
    ),
    # The Prefect server
    "MF401": Definition(
        "Server unreachable",
        "no Prefect server answers at {url}: {detail}",
        "Start it (`make server` for a local one), or correct prefect_api_url or PREFECT_API_URL.",
        "meta-flows deploy   # nothing listens at prefect_api_url",
    ),
    "MF402": Definition(
        "Not authorised",
        "the Prefect server at {url} refuses us: {detail}",
        "Set PREFECT_API_KEY or PREFECT_API_AUTH_STRING to what that server expects.",
        "PREFECT_API_KEY=expired meta-flows deploy",
    ),
    "MF403": Definition(
        "Shell and file disagree",
        "the shell says {shell}, but environment '{environment}' says {file}",
        "Unset PREFECT_API_URL (or switch profile), or name the server with --api-url.",
        "PREFECT_API_URL=http://other:4200/api meta-flows deploy --environment production",
    ),
    "MF404": Definition(
        "Request refused",
        "the server refused {request}: {detail}",
        "Correct what the server names.",
        "an answer with status 422",
    ),
    "MF405": Definition(
        "No server chosen",
        "this run is not on the server of environment '{environment}'",
        "Call inside `with meta_flows.connect(environment):`, or set PREFECT_API_URL.",
        'from meta_flows import deploy_all\ndeploy_all("production")   # outside `with connect("production")`',
    ),
    "MF406": Definition(
        "Local server did not start",
        "the local server at {url} did not come up: {detail}",
        "Read {log}; is the port in use?",
        "meta-flows server start   # something else has the port",
    ),
    "MF407": Definition(
        "Work pool of another type",
        "work pool '{pool}' is of type '{live}', environment '{environment}' says '{desired}'",
        "Name another pool in environments/, or correct its type.",
        "work_pools:\n  python: a-docker-pool   # environments/production.yaml",
    ),
    "MF408": Definition(
        "Server is too old",
        "the server at {url} is version {server}, and this is Prefect {client}",
        "Upgrade the server, or install the Prefect version that it has: a newer client fails in the middle of things.",
        "a server of Prefect 3.4 and a client of 3.8",
    ),
    "MF409": Definition(
        "Prefect is too old for this",
        "Prefect {prefect} does not {what}",
        "Register from a folder that the worker has (`source: {{type: local}}`), or install Prefect 3.8 everywhere.",
        "make register with Prefect 3.4 and `source: {type: git}`",
    ),
    "MF410": Definition(
        "No such work pool",
        "there is no work pool '{pool}'{suggestion}",
        "Create it, or name it in the environment's `work_pools:`, and a deploy creates it.",
        "work_pool: somewhere   # environments/templates/python.yaml",
    ),
    "MF411": Definition(
        "Work pool or queue is paused",
        "{what} is paused: runs wait until somebody resumes it",
        "`prefect work-pool resume` or `prefect work-queue resume`, when they may run.",
        "prefect work-pool pause dev-python",
        "warning",
    ),
    "MF412": Definition(
        "No worker",
        "no worker polls work pool '{pool}': runs wait until one does",
        "Start one with `make worker`; the runbook says how it is kept running.",
        "make deploy-all   # before make worker",
        "warning",
    ),
    "MF413": Definition(
        "Unknown job variable",
        "work pool '{pool}' has no job variable '{variable}'{suggestion}",
        "Remove it or correct its spelling; it has: {known}. Prefect would accept it and leave it out.",
        "job_variables:\n  memory: 2Gi   # mem_limit, for docker",
    ),
    "MF414": Definition(
        "Job variable does not fit",
        "job variable '{variable}': {detail}, says work pool '{pool}'",
        "Give it a value that the pool's base job template takes.",
        "job_variables:\n  mem_limit: [512m]",
    ),
    "MF415": Definition(
        "Reference leads nowhere",
        "there is no {what} '{name}'",
        "Create it on the server, or correct the reference: a run would crash, or go without it.",
        "job_variables:\n  env:\n    DB_PASSWORD: '{{ prefect.blocks.secret.db-pasword }}'",
    ),
    "MF416": Definition(
        "Limit above the pool's",
        "concurrency_limit is {limit}, and work pool '{pool}' runs {most} at a time",
        "Lower it, or raise the pool's limit.",
        "concurrency_limit: 10   # and the pool's limit is 5",
        "warning",
    ),
    "MF417": Definition(
        "Somebody else's work pool",
        "work pool '{pool}' was not made by this project, and differs from the environment's file in {fields}",
        "Name a pool of your own, state only what the pool has, or have it changed with --adopt, for all who use it.",
        "work_pools:\n  python:\n    name: default   # made in the UI\n    concurrency_limit: 2",
    ),
    "MF418": Definition(
        "Deployments do not fit the work pool",
        "work pool '{pool}' is not changed: job variables of deployments in it would not fit any more: {deployments}",
        "Keep these variables in base_job_template, or change or delete those deployments first.",
        "base_job_template:   # has no variable `working_dir` any more, and rpa1-python-dev sets it",
    ),
    # Deploying
    "MF501": Definition(
        "Somebody else's deployment",
        "deployment '{key}' exists and is not owned by project '{project}'",
        "Rename ours with `slug:`, or take it over with --adopt: it keeps its id, its history and its pauses.",
        "meta-flows deploy   # `prefect deploy` made rpa1-python-dev before",
    ),
    "MF502": Definition(
        "Not as planned after applying",
        "{what} still differs: {detail}",
        "Somebody changed it meanwhile, or the server rewrites it; run the deploy again and compare.",
        "meta-flows deploy   # somebody edits the deployment in the UI meanwhile",
    ),
    "MF503": Definition(
        "Deployment failed",
        "{what} was not changed: {detail}",
        "Mend the cause and deploy again.",
        "meta-flows deploy   # the server refuses one deployment",
    ),
    "MF504": Definition(
        "Refused: environment is strict",
        "environment '{environment}' is strict and {count} flow(s) cannot be deployed",
        "Mend what is listed above, or select only what is valid with --flow.",
        "strict: true   # environments/production.yaml, and one flow is broken",
    ),
    "MF505": Definition(
        "Git source not usable",
        "the git source cannot be pinned: {detail}",
        "Commit and push, or name `commit:` in the environment's source.",
        "source:\n  type: git\n  repository: https://git.example.com/flows.git   # HEAD is not pushed",
    ),
    "MF506": Definition(
        "No such deployment",
        "no deployment {name} on {url}",
        "`make deploy-all` deploys; `meta-flows discover` lists what there is.",
        "meta-flows run rpa9",
    ),
    "MF507": Definition(
        "Run not finished",
        "run '{run}' is still {state} after {seconds:.0f} s{reason}",
        "Start a worker with `make worker`, or look at the run in the UI.",
        "meta-flows run rpa1   # no worker polls its pool",
    ),
    "MF508": Definition(
        "Approval needed",
        "environment '{environment}' wants every plan to be approved, and here is nobody to ask",
        "Look at the plan with --dry-run, then say --yes, or answer on a terminal; a run started in the Prefect UI "
        "asks there.",
        "require_approval: true   # and a deploy without a terminal",
    ),
    "MF509": Definition(
        "Unknown run parameter",
        "deployment '{deployment}' has no parameter '{parameter}'{suggestion}",
        "Remove it or correct its spelling; its parameters: {known}.",
        "meta-flows run rpa1 --parameter batchsize=10",
    ),
    "MF510": Definition(
        "Plan is stale",
        "the plan {planned} is not what a deploy would do now; that would be plan {now}",
        "Somebody changed the server or the repository since; plan again and look at what is different.",
        "meta-flows deploy --plan plan.json   # somebody deployed since",
    ),
    "MF511": Definition(
        "Not restored",
        "{what} could not be brought back to what it was: {detail}",
        "Mend the cause, then `meta-flows rollback`: the release record knows what was there before.",
        "a server that goes away in the middle of a rollback",
    ),
    "MF512": Definition(
        "Another deploy is writing",
        "environment '{environment}' is still being written to after waiting {seconds:.0f} s, by {holder}",
        "Wait for it to end and try again; if its process is gone for good, `meta-flows unlock`.",
        "meta-flows deploy   # in two terminals",
    ),
    "MF513": Definition(
        "Too much would be deleted",
        "{count} of {of} deployments would be deleted, and the limit is {limit}: {names}",
        "If that is what you want, say so: --prune-limit 1, or prune_limit in the environment's file.",
        "meta-flows deploy --prune   # after most flows were moved away",
    ),
    "MF514": Definition(
        "Project has no name",
        "nothing is deleted under a guessed name: '{project}' is only the name of the folder",
        "State `project:` in environments/defaults.yaml; it is who owns the deployments.",
        "meta-flows deploy --prune   # no `project:` in environments/defaults.yaml",
    ),
    "MF515": Definition(
        "Replaces what is still wanted",
        "'{key}' says that it replaces '{replaced}', which the repository asks for too",
        "Take `replaces:` out of the one, or remove the other flow.",
        "replaces: sales   # while flows/sales is still there",
    ),
    "MF516": Definition(
        "No such release",
        "there is no release '{release}' of environment '{environment}'{suggestion}",
        "`meta-flows releases` lists those that are kept.",
        "meta-flows rollback --to 20260302t081500-1a2b",
    ),
    "MF517": Definition(
        "Nothing to roll back to",
        "environment '{environment}' has no release before the current one",
        "`meta-flows releases` lists those that are kept; name one with --to.",
        "meta-flows rollback   # after the first deploy",
    ),
    "MF518": Definition(
        "Release record not readable",
        "block '{block}' is no release record of this version",
        "Use the version of meta-flows that wrote it, or delete the block: the release before it is then the current.",
        "a release block that was edited by hand",
    ),
    "MF519": Definition(
        "Lock lost",
        "the lock of environment '{environment}' was lost while writing",
        "The server was away for too long, or somebody used unlock; deploy again, which goes on from what is there.",
        "meta-flows unlock   # while a deploy is writing",
    ),
    "MF520": Definition(
        "Confirmation needed",
        "deleting deployments of '{environment}' needs a confirmation",
        "Look at it with --dry-run, then confirm with --confirm {environment}.",
        "meta-flows clean --environment production",
    ),
    "MF521": Definition(
        "Cannot deploy a branch",
        "reconcile is to deploy a branch, but {detail}",
        "State `source: {{type: git, ...}}` and a branch in the environment's file, or another policy.",
        "reconcile:\n  policy: deploy   # with a local source",
    ),
    "MF522": Definition(
        "Run of another environment",
        "this deployment is for environment '{fixed}', and the run was given '{environment}'",
        "Run the deployment of that environment; `make register` makes one for each.",
        "deploy-all-staging   # run with environment=production, schema enforcement switched off",
    ),
    "MF523": Definition(
        "Meta-flow registered by somebody else",
        "there are deployments of these names that are not ours: {names}",
        "Give ours names of their own with `registration: {{qualifier: ...}}` in environments/defaults.yaml, or delete "
        "those.",
        "make register   # in two repositories that share a server",
    ),
    "MF531": Definition(
        "Not registered",
        "there is no {key} of project '{project}' for environment '{environment}' on {url}",
        "`make register` puts the meta-flows on the server; without --remote it runs here.",
        "meta-flows deploy --remote   # before make register",
    ),
    "MF532": Definition(
        "Registered form is old",
        "the registered {key} does not know {flows}",
        "`make register` brings it up to date with the flows of this repository.",
        "meta-flows deploy --remote --flow rpa4   # rpa4 is newer than the last make register",
    ),
    # Images
    "MF601": Definition(
        "No Docker engine",
        "no Docker engine answers: {detail}",
        "Start Docker (`sudo systemctl start docker`, or Docker Desktop), or let DOCKER_HOST name an engine; "
        "`--kind python` deploys without one.",
        "meta-flows images build   # Docker is not running",
    ),
    "MF602": Definition(
        "Not a Dockerfile",
        "not a Dockerfile: {detail}",
        "Mend the line named.",
        "FORM python:3.12-slim",
    ),
    "MF603": Definition(
        "Flow is not in its image",
        "runs look for {expected} in the image, but {dockerfile} puts it {found}",
        "Let WORKDIR and COPY keep the repository's layout (`WORKDIR /app`, `COPY flows/x flows/x`), and "
        "look whether .dockerignore hides the file.",
        "WORKDIR /srv   # and the flow is copied to /app/flows/rpa1",
    ),
    "MF604": Definition(
        "No Dockerfile",
        "flow '{flow}' is deployed as an image, but has no Dockerfile",
        "Put a Dockerfile into the flow's folder, or take the kind out of `kinds:` in its deployment.yaml.",
        "kinds: [docker]   # and no Dockerfile",
    ),
    "MF605": Definition(
        "Registry does not answer",
        "registry of {repository}: {detail}",
        "Look whether `docker.registry` names it, whether it runs, and whether the engine trusts its certificate.",
        "docker:\n  registry: registry.example.com   # does not resolve",
    ),
    "MF606": Definition(
        "Registry refuses",
        "registry of {repository} refuses: {detail}",
        "`docker login` to it, as the user that runs this, and make sure that this user may push there.",
        "meta-flows images push   # without docker login",
    ),
    "MF607": Definition(
        "Disk is full",
        "{repository}: {detail}",
        "Free space where the engine, or the registry, keeps its images, e.g. with `docker image prune`.",
        "no space left on device",
    ),
    "MF608": Definition(
        "Image cannot be built",
        "image {image} failed at `{step}`: {detail}{output}",
        "Mend the instruction; `make build-images FLOW=... VERBOSE=true` shows the whole output.",
        "RUN pip install pandsa",
    ),
    "MF609": Definition(
        "No base image",
        "base image {base} cannot be had: {detail}",
        "Correct its name, `docker login` to its registry, or name another one with `docker.build_args.BASE_IMAGE`.",
        "FROM python:3.99-slim",
    ),
    "MF610": Definition(
        "Relative volume",
        "volume '{volume}' is relative to the repository, which is not on the worker's machine with a git source",
        "Name an absolute path of the worker's machine, or a Docker volume.",
        "volumes: [./flows/rpa1/data:/data]   # with a git source",
    ),
    "MF611": Definition(
        "No registry",
        "environment '{environment}' has no registry to push to or pull from",
        "Name one as `docker.registry` in the environment's file, or with REGISTRY=... (shell: DOCKER_REGISTRY).",
        "meta-flows images push   # no `docker.registry`",
    ),
    "MF612": Definition(
        "Image is not built",
        "the engine has no image {image}",
        "Build it first: `make build-images`.",
        "meta-flows images push   # before images build",
    ),
    "MF613": Definition(
        "Image is not in the registry",
        "the registry has no image {image}",
        "Push it from where it was built: `make push-images`. Its tag says what the files here are.",
        "meta-flows images pull   # before images push",
    ),
    "MF621": Definition(
        "Base image is not pinned",
        "base image {base} has no tag that stays: {detail}",
        "Name a version, e.g. `python:3.12-slim`, or a digest: another day builds another image.",
        "FROM python:latest",
        "warning",
    ),
    "MF622": Definition(
        "Nothing to copy",
        "{instruction} {source}: there is no such file in the build context{hint}",
        "Correct the path, which is seen from the repository's root, or let .dockerignore through what is needed.",
        "COPY requirments.txt .",
    ),
    "MF623": Definition(
        "Runs as root",
        "runs of this image have all rights in it: {detail}",
        "Add `USER 10001:10001` after the last RUN that needs more.",
        "FROM python:3.12-slim\nCOPY flows flows",
        "warning",
    ),
    "MF624": Definition(
        "Secret in a Dockerfile",
        "'{key}' looks like a secret, and stays readable in the image",
        "Store it in a Secret block and refer to it in job_variables.env; a build takes RUN --mount=type=secret.",
        "ENV DB_PASSWORD=hunter2",
    ),
    "MF625": Definition(
        "Module is not in its image",
        "{dockerfile} does not copy {modules}, which the flow imports",
        "Add a COPY for it, or let .dockerignore let it through.",
        "COPY flows/sales flows/sales   # and it imports flows/shared/tables.py",
    ),
    "MF626": Definition(
        "Prefect is not in the image",
        "nothing in {dockerfile} installs Prefect on {base}",
        "Install it from the lock, e.g. `RUN pip install -r flows/requirements.txt`; a run starts with it.",
        "FROM python:3.12-slim\nCOPY flows flows",
    ),
    "MF627": Definition(
        "Volume's folder does not exist",
        "volume '{volume}': there is no {folder} here",
        "Create it, as the user that runs are: Docker would make it as root.",
        "volumes: [/srv/sales:/data]",
        "warning",
    ),
    # How deployments do, and what people see of them
    "MF701": Definition(
        "Deployment is gone",
        "deployment '{key}' was released, and is not on the server",
        "`meta-flows reconcile` brings it back, with a new id; events of the deployment say who deleted it.",
        "somebody deletes rpa1-python-prod in the UI",
    ),
    "MF702": Definition(
        "Deployment is not as released",
        "deployment '{key}' was changed by hand: {detail}",
        "`meta-flows reconcile` brings back what was released; state in the repository what is to stay.",
        "somebody edits the description in the UI",
    ),
    "MF703": Definition(
        "Nothing is scheduled",
        "no run is scheduled for {schedules}",
        "The server's scheduler does not run, or fails: look at `prefect server services ls` and "
        "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED there, and for `Error scheduling deployment` in its log.",
        "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED=false prefect server start",
    ),
    "MF704": Definition(
        "Nothing to check against",
        "environment '{environment}' {detail}, so nothing says how its deployments should be",
        "`meta-flows deploy` makes a release, and goes on from one that was cut short.",
        "meta-flows check-ui   # before the first deploy",
    ),
    "MF711": Definition(
        "UI does not answer",
        "no Prefect UI at {url}: {detail}",
        "Let PREFECT_UI_URL here say where people reach it, and look whether the server has it switched off "
        "(PREFECT_UI_ENABLED) or a proxy in front of it does not let it through.",
        "PREFECT_UI_ENABLED=false prefect server start",
    ),
    "MF712": Definition(
        "UI asks a wrong address",
        "the UI at {url} lets browsers ask {api_url}: {detail}",
        "Start the server with PREFECT_UI_API_URL set to the API's address as browsers reach it, which ends in /api.",
        "PREFECT_UI_API_URL=http://127.0.0.1:4201/api prefect server start   # on port 4200",
    ),
    "MF713": Definition(
        "API refuses the UI's origin",
        "{api_url} does not allow requests of pages from {origin}",
        "Start the server with that origin in PREFECT_SERVER_CORS_ALLOWED_ORIGINS, or serve both from one origin.",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS=https://other.example.com prefect server start",
    ),
    "MF721": Definition(
        "No browser",
        "the UI cannot be opened in a browser: {detail}",
        "Install the extra, `pip install 'meta_flows[browser]'`, and a Chromium, e.g. `apt-get install chromium`; "
        "BROWSER_PATH names one that is not on the PATH.",
        "meta-flows check-ui --browser   # where no Chromium is installed",
    ),
    "MF722": Definition(
        "UI shows something else",
        "the page of '{key}' does not show {what}",
        "If it was changed by hand, reconcile; if the API has it right, open the page: the UI may only be slow.",
        "somebody changes a tag while the page is looked at",
    ),
    "MF723": Definition(
        "Page cannot be shown",
        "{page} shows nothing of what it is for: {detail}",
        "Open it in a browser, and its developer tools: docs/checking.md says what to look for.",
        "a proxy that lets /v2 through, but not /api",
    ),
    "MF724": Definition(
        "Not in the list",
        "the UI's list of deployments does not show '{key}'",
        "If it is gone, reconcile; if not, look for it without a filter: its tags may have been changed.",
        "somebody takes the tag `project:sales` off a deployment",
    ),
    "MF731": Definition(
        "Deployment is paused",
        "an operator has paused the deployment",
        "`prefect deployment resume`, or its switch in the UI, when it may run.",
        "a deployment is paused in the UI while an incident lasts",
        "warning",
    ),
    "MF732": Definition(
        "Schedule is paused",
        "an operator has paused {schedules}",
        "`prefect deployment schedule resume`, or its switch in the UI, when it may run.",
        "a schedule's switch is off in the UI",
        "warning",
    ),
    "MF733": Definition(
        "Queue is not polled",
        "a worker polls work pool '{pool}', but none its queue '{queue}'",
        "Start a worker without --work-queue, or with this queue.",
        "prefect worker start --pool dev-python --work-queue fast",
        "warning",
    ),
    "MF734": Definition(
        "Runs are late",
        "a run should have started at {since:%Y-%m-%d %H:%M}Z and waits",
        "Look for what holds it up: a pause, no worker, a concurrency limit, or runs that hang.",
        "all slots of a work pool are taken",
        "warning",
    ),
    "MF735": Definition(
        "Last run failed",
        "{what} {state} at {ended:%Y-%m-%d %H:%M}Z{but}",
        "Read its log in the UI.",
        "a run that raises",
        "warning",
    ),
    "MF736": Definition(
        "Changed just now",
        "changed just now",
        "The scheduler and the workers come by within a minute; look again then, with `meta-flows status`.",
        "meta-flows deploy",
        "warning",
    ),
    "MF737": Definition(
        "Health not known",
        "how it does cannot be read: {detail}",
        "Mend the cause, and look again with `meta-flows status`.",
        "a proxy that refuses /api/flow_runs/filter",
        "warning",
    ),
    # What doctor finds
    "MF801": Definition(
        "Check did not end",
        "nothing was found out within {seconds} s",
        "Look at what it asks: it takes connections, and does not answer.",
        "meta-flows doctor   # the Docker engine hangs",
    ),
    "MF802": Definition(
        "Package that does not work",
        "{package} {version} is installed, {wanted} is wanted{trap}",
        "`pip install --requirement requirements.txt` installs what works together; or `make install`.",
        "pip install --upgrade fastapi",
    ),
    "MF803": Definition(
        "Server is newer",
        "the server at {url} is version {server}, and this is Prefect {client}",
        "Install the server's version here and for the workers, when there is time: it mostly works, untested.",
        "a server of Prefect 3.9 and a client of 3.8",
        "warning",
    ),
    "MF804": Definition(
        "Clocks differ",
        "this machine's clock is {seconds:.0f} s {direction} the server's",
        "Let both follow a time server, e.g. `sudo timedatectl set-ntp true`: runs start late, logs are disordered.",
        "a virtual machine that was suspended",
    ),
    "MF805": Definition(
        "Proxy in the way",
        "the shell names the proxy {proxy}, and {url} answers only {how}",
        "Add {host} to NO_PROXY here and where workers run; a server that only a proxy reaches is not supported.",
        "HTTP_PROXY=http://proxy.example.com:3128   # and the server is on this network",
    ),
    "MF808": Definition(
        "SQLite",
        "environment '{environment}' is on SQLite, which takes one write at a time{unlimited}",
        "Give its server a PostgreSQL with PREFECT_API_DATABASE_CONNECTION_URL, or limit how many runs there are.",
        "environments/production.yaml   # names a server started by `make server`",
        "warning",
    ),
    "MF809": Definition(
        "Disk is nearly full",
        "{folder} has {free:.1f} GB left",
        "Free space: old logs and databases, or images with `docker image prune`.",
        "a machine that builds images for years",
    ),
    "MF810": Definition(
        "Git repository not reached",
        "{repository}: {detail}",
        "Correct the address in the environment's source, or let this machine in; workers have to get there too.",
        "source:\n  type: git\n  repository: git@git.example.com:flows.git   # no key here",
    ),
    # Use
    "MF901": Definition(
        "Wrong use",
        "{detail}",
        "`meta-flows --help` shows what there is.",
        "meta-flows deploy --enviroment dev",
    ),
    "MF902": Definition(
        "Unexpected failure",
        "this should not have happened: {detail}",
        "Run it again with --verbose, which shows where, and report it.",
        "a defect of ours",
    ),
}

RULES = frozenset(
    {f"MF{number}" for number in (*range(112, 119), *range(121, 126), *range(220, 226), *range(410, 417))}
    | {f"MF{number}" for number in (305, *range(621, 628))}
)
"""What `ignore:` may name: rules that can be wrong about a flow, all others say what cannot be deployed."""
