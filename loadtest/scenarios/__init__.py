"""The scenarios: what is done to the servers, and what is asked of them then.

Each is one module with its options, its settings, its run, its findings and its metrics, and a
`SCENARIO` that says so; `known` lists them. The command line alone imports from here, and knows
them by what `contract` says they have. This folder imports from all folders below.
"""
