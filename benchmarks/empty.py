"""An empty FastAPI endpoint: the most that any server on this framework could answer."""

from fastapi import FastAPI

app = FastAPI()


@app.post("/predict")
async def predict() -> dict[str, str]:
    return {}
