"""This checkout's Invoke namespace: the deploy tasks, throwaway hosts, and the project's own chores."""

from deployer.sandbox.tasks import namespace as sandbox
from deployer.tasks import namespace

namespace.add_collection(sandbox)
