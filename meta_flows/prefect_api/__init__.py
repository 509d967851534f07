"""The only code that talks to the Prefect API: `observe` reads, `apply` writes, `releases` keeps the record of both.

Bodies are the API's own JSON. The client's models would fill in defaults that nobody stated, and parsing them costs
more than the requests do.
"""

from meta_flows.prefect_api.connection import Api, client, plain_reason, speaking_plainly

__all__ = ["Api", "client", "plain_reason", "speaking_plainly"]
