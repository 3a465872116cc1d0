"""The commands that make a release, or would: deploy, reload, rollback, plan; following, holding and ending one."""
