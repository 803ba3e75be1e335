"""Peak activation memory against sums worked out by hand."""

import onnx
from onnx import TensorProto, helper

from fednas.export.activation_memory import peak_activation_bytes


def model(nodes: list[onnx.NodeProto], initializers: tuple[onnx.TensorProto, ...] = ()) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4, 2, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        initializer=initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def test_a_chain_needs_input_and_output_of_its_widest_step() -> None:
    # x: 16 numbers, each sum 16 numbers; two of them at a time; the ReLU works in place.
    chain = [
        helper.make_node("Add", ["x", "x"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Add", ["b", "b"], ["y"]),
    ]
    assert peak_activation_bytes(model(chain)) == 2 * 16 * 4


def test_a_residual_branch_stays_alive_until_it_is_added() -> None:
    # At the second sum x, a and b exist: x waits for the last one.
    block = [
        helper.make_node("Add", ["x", "x"], ["a"]),
        helper.make_node("Add", ["a", "a"], ["b"]),
        helper.make_node("Add", ["b", "x"], ["y"]),
    ]
    assert peak_activation_bytes(model(block)) == 3 * 16 * 4


def test_a_relu_whose_input_is_read_elsewhere_needs_its_own_memory() -> None:
    block = [
        helper.make_node("Add", ["x", "x"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    assert peak_activation_bytes(model(block)) == 3 * 16 * 4


def test_weights_do_not_count() -> None:
    weight = helper.make_tensor("w", TensorProto.FLOAT, [4, 4, 1, 1], [0.0] * 16)
    assert peak_activation_bytes(model([helper.make_node("Conv", ["x", "w"], ["y"])], (weight,))) == 2 * 16 * 4


def test_quantised_numbers_take_a_byte() -> None:
    # x (64 bytes) is quantised: the branch holds 16 bytes, and its sum 64 again.
    scale = helper.make_tensor("s", TensorProto.FLOAT, [], [0.1])
    zero = helper.make_tensor("z", TensorProto.INT8, [], [0])
    nodes = [
        helper.make_node("Add", ["x", "x"], ["a"]),
        helper.make_node("QuantizeLinear", ["a", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("Add", ["d", "d"], ["y"]),
    ]
    assert peak_activation_bytes(model(nodes, (scale, zero))) == 64 + 16
