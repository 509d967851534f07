"""The only code that talks to the Prefect API.

`store` is the engine's view of a server, `reads` whatever else is read of one, `connection` which server it is.
"""

from meta_flows.prefect_api.connection import Api, client, speaking_plainly
from meta_flows.prefect_api.store import PrefectStore, connected_store

__all__ = ["Api", "PrefectStore", "client", "connected_store", "speaking_plainly"]
