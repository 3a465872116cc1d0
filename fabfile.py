from tasks import namespace  # noqa: F401
