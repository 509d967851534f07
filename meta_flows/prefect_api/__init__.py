"""The only code that talks to the Prefect API.

`store` is the engine's view of a server, `reads` whatever else is read of one, `connection` which server it is, and
`compat` all of Prefect that may change with its version.
"""
