"""How long the orchestration takes: ticks, an edit until it is in force, backfills, memory."""
