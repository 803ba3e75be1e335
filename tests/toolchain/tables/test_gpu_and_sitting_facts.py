"""What a table says of its GPU, of its sittings and of layers, in words."""

import msgspec
from table_examples import make_table

from fednas.latency_tables import GpuState, LayerUse
from fednas.toolchain.tables.facts import table_facts


def test_a_gpu_is_named_with_what_decides_its_speed() -> None:
    plain = make_table()
    state = GpuState(driver="580.65", power_limit_w=72.0, current_mhz=210.0)
    machine = msgspec.structs.replace(plain.machine, gpu="NVIDIA L4", gpu_state=state)
    session = msgspec.structs.replace(
        plain.session,
        sittings=3,
        gpu_clock_low_mhz=1410.0,
        gpu_clock_high_mhz=2040.0,
        gpu_hottest_c=81.0,
        gpu_slowed_by=("its power limit",),
    )
    facts = dict(table_facts(make_table(machine=machine, session=session)))
    assert facts["GPU"] == (
        "NVIDIA L4, driver 580.65, power limit 72 W, clocks 1410 to 2040 MHz, up to 81 degrees C, "
        "slowed by its power limit"
    )
    assert "without pause in 3 sittings" in facts["readings"]


def test_what_is_not_known_is_left_out() -> None:
    plain = make_table()
    facts = dict(table_facts(make_table(machine=msgspec.structs.replace(plain.machine, gpu="NVIDIA L4"))))
    assert facts["GPU"] == "NVIDIA L4"
    assert "sittings" not in facts["readings"]
    assert "layers" not in facts


def test_layers_are_said_to_be_used_with_both_errors() -> None:
    use = LayerUse(networks=102, attributed=0.956, strangers=4, used=True, error_without=0.0368, error_with=0.0278)
    assert dict(table_facts(make_table(layers=use)))["layers"] == (
        "used: 2.8% with and 3.7% without them on networks outside the fit; profiled in 102 networks, "
        "96% of their time is of single blocks (4 layers a network are of none)"
    )
