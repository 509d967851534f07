"""What every command of a meta-flow imports sooner or later."""

import fastapi.applications
import prefect._vendor.croniter
import prefect.blocks.system
import prefect.events.worker
import prefect.flow_engine
import prefect.main
import prefect.task_engine
import prefect.utilities.visualization
import prefect.workers.process
import prefect.workers.utilities

import meta_flows.cli
import meta_flows.commands.deploying
