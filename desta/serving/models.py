"""Routes that tell what is served, and whether it is ready."""

import time
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from desta.serving.chat import check_model
from desta.serving.protocol import ServingEngine
from desta.serving.schema import Model, ModelList


def model_routes(engine: ServingEngine) -> APIRouter:
    """Create the routes `/v1/models`, `/health` and `/ready`."""
    router = APIRouter()
    created = int(time.time())

    @router.get("/v1/models")
    async def list_models() -> ModelList:
        """List the models that are served."""
        return ModelList(data=[Model(id=name, created=created) for name in engine.models])

    @router.get("/v1/models/{name:path}")
    async def read_model(name: str) -> Model:
        """Describe a model that is served."""
        check_model(name, engine)
        return Model(id=name, created=created)

    @router.get("/health")
    async def read_health() -> dict[str, str]:
        """Tell that the process runs."""
        return {"status": "ok"}

    @router.get("/ready")
    async def read_readiness() -> Any:
        """Tell whether requests are answered: status 200, else 503."""
        if engine.is_ready:
            return {"status": "ready"}
        return JSONResponse({"status": "not ready"}, 503)

    return router
