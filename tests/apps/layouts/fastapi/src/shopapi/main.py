from fastapi import FastAPI

app: FastAPI = FastAPI(title="hello from fastapi")


@app.get("/items")
def items() -> list[str]:
    return []
