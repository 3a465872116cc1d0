import os
import sys
import time

if sys.argv[1] == "migrate":
    open(os.path.join(os.environ["STATE_DIRECTORY"], "migrated"), "w").close()
while sys.argv[1] in ("work", "beat"):
    time.sleep(1)
