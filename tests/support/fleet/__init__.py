"""A fleet of real hosts with a tiny app on them, the real ``fab`` command, load on every host, and accidents."""

from tests.support.fleet.bed import FleetBed
from tests.support.fleet.command import Command, FleetEnded
from tests.support.fleet.making import fleet_bed
from tests.support.fleet.member import Member

__all__ = ["Command", "FleetBed", "FleetEnded", "Member", "fleet_bed"]
