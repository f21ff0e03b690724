"""Names the packages; the rest is in pyproject.toml, which cannot say that frontend/ is `realtime.frontend`."""

from setuptools import find_namespace_packages, setup

NO_PACKAGES = ["realtime.checkpoints*"]  # data

setup(
    packages=[
        *find_namespace_packages(include=["realtime", "realtime.*", "streaming_vocoder"], exclude=NO_PACKAGES),
        "realtime.frontend",
    ],
    package_dir={"realtime.frontend": "frontend"},
)
