"""What a daemon is made of: each part once, for all that it serves."""

from dataclasses import dataclass

from keypool_cli.daemon.auth import Auth
from keypool_cli.daemon.bodies import Bodies
from keypool_cli.daemon.metrics import Counting
from keypool_cli.service.affinity import Affinity
from keypool_cli.service.closing import Closing
from keypool_cli.service.egress import Egress
from keypool_cli.service.estimating import Estimating
from keypool_cli.service.leasing import Leasing
from keypool_cli.service.ports import Ports
from keypool_cli.service.settling import Settling
from keypool_cli.service.waiting import Waiting
from keypool_cli.service.watch import Watch


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one daemon, or of one of its workers."""

    ports: Ports
    watch: Watch
    waiting: Waiting
    leasing: Leasing
    settling: Settling
    closing: Closing
    estimating: Estimating
    affinity: Affinity
    egress: Egress
    auth: Auth
    bodies: Bodies
    counting: Counting
