"""
Everything that speaks to Postgres; no other module imports asyncpg.

`database` runs statements, `writes`, `reads`, `history` and `sweeps` hold them,
`migrate` brings the schema they rest on. Nothing here decides: it stores what
was decided if what it was decided upon still holds, and says so if not.
"""
