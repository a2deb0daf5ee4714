"""Drives a server through generated stubs, then through reflection alone.

usage: client.py ADDRESS PROTO_DIR IMAGE...   (images named LABEL-anything.png)
"""

import pathlib
import struct
import subprocess
import sys
import tempfile
import zlib

import grpc


def stubs(protos):
    """Compiles the contract, as any client would."""
    out = tempfile.mkdtemp()
    google = [protos / "google/rpc/status.proto", protos / "google/longrunning/operations.proto"]
    files = [*protos.glob("twindex/v1/*.proto"), *google]
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", f"-I{protos}", f"--python_out={out}",
         f"--grpc_python_out={out}", *map(str, files)],
        check=True,
    )
    sys.path.insert(0, out)
    # `google` is a namespace package: let it find what was compiled of it, too.
    import google

    google.__path__.append(f"{out}/google")


def by_stubs(channel, images):
    from twindex.v1 import collection_service_pb2 as collections
    from twindex.v1 import collection_service_pb2_grpc as collections_grpc
    from twindex.v1 import decision_service_pb2 as decisions
    from twindex.v1 import decision_service_pb2_grpc as decisions_grpc
    from twindex.v1 import item_service_pb2 as items
    from twindex.v1 import item_service_pb2_grpc as items_grpc
    from twindex.v1 import search_service_pb2 as search
    from twindex.v1 import search_service_pb2_grpc as search_grpc
    from twindex.v1 import types_pb2 as types

    created = collections_grpc.CollectionServiceStub(channel).CreateCollection(
        collections.CreateCollectionRequest(collection=collections.Collection(name="py")))
    assert created.collection.dimension == 64, created

    def messages():
        for tag, image in enumerate(images):
            item = types.Item(id=image.name, label=image.name.split("-")[0], image=image.read_bytes())
            item.payload.update({"tag": tag})
            yield items.StreamUpsertItemsRequest(collection="py", item=item, tag=tag)

    item_stub = items_grpc.ItemServiceStub(channel)
    answers = list(item_stub.StreamUpsertItems(messages()))
    assert sorted(a.tag for a in answers) == list(range(len(images))), answers
    assert all(a.status.code == 0 and a.created for a in answers), answers

    got = item_stub.GetItem(items.GetItemRequest(
        collection="py", id=images[0].name, view=items.ItemView(image=True)))
    assert got.item.image == images[0].read_bytes() and got.item.payload["tag"] == 0

    probe = types.Probe(image=images[1].read_bytes())
    found = search_grpc.SearchServiceStub(channel).Search(
        search.SearchRequest(collection="py", probe=probe, k=3), timeout=10)
    assert found.hits[0].id == images[1].name and found.hits[0].similarity > 0.999, found

    named = decisions_grpc.DecisionServiceStub(channel).Classify(
        decisions.ClassifyRequest(collection="py", probe=types.Probe(item_id=images[1].name)))
    assert not named.unknown and named.label == images[1].name.split("-")[0], named

    from google.longrunning import operations_pb2 as operations
    from google.longrunning import operations_pb2_grpc as operations_grpc
    from twindex.v1 import model_service_pb2 as models
    from twindex.v1 import model_service_pb2_grpc as models_grpc

    model_stub = models_grpc.ModelServiceStub(channel)
    listed = model_stub.ListModels(models.ListModelsRequest()).models
    assert [m.version for m in listed if m.default] == [created.collection.model_version], listed
    operation_stub = operations_grpc.OperationsStub(channel)
    training = model_stub.TrainModel(models.TrainModelRequest(collection="py", name="own", steps=1))
    ended = operation_stub.WaitOperation(operations.WaitOperationRequest(name=training.name))
    made = models.TrainModelResponse()
    assert ended.done and ended.response.Unpack(made), ended
    assert made.model_version.startswith("own-") and made.steps == 1, made

    try:
        item_stub.GetItem(items.GetItemRequest(collection="py", id="x" * 257))
        raise AssertionError("an id of 257 bytes was accepted")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
        from google.rpc import status_pb2

        raw = dict(error.trailing_metadata())["grpc-status-details-bin"]
        details = status_pb2.Status.FromString(raw).details
        kinds = {d.type_url.rsplit("/")[-1] for d in details}
        assert kinds == {"google.rpc.ErrorInfo", "google.rpc.BadRequest"}, kinds


def dot():
    """A PNG of one pixel."""
    def chunk(kind, data):
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")


def by_small_messages(channel):
    """Sends faster than the server takes them, without waiting for an answer."""
    from twindex.v1 import collection_service_pb2 as collections
    from twindex.v1 import collection_service_pb2_grpc as collections_grpc
    from twindex.v1 import item_service_pb2 as items
    from twindex.v1 import item_service_pb2_grpc as items_grpc
    from twindex.v1 import types_pb2 as types

    collection_stub = collections_grpc.CollectionServiceStub(channel)
    item_stub = items_grpc.ItemServiceStub(channel)

    def enrol(name, count, content, **how):
        collection_stub.CreateCollection(collections.CreateCollectionRequest(
            collection=collections.Collection(name=name, **how)))
        messages = [items.StreamUpsertItemsRequest(
            collection=name, item=types.Item(id=str(tag), **content), tag=tag) for tag in range(count)]
        answers = list(item_stub.StreamUpsertItems(iter(messages)))
        assert sorted(a.tag for a in answers) == list(range(count)), len(answers)
        assert all(a.status.code == 0 for a in answers), [a for a in answers if a.status.code][:3]
        counted = item_stub.CountItems(items.CountItemsRequest(collection=name))
        assert counted.count == count, counted

    enrol("small-vectors", 5_000, {"vector": types.Vector(values=[1.0])}, dimension=1)
    enrol("small-images", 3_000, {"image": dot()})


def by_reflection(channel, images):
    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.message_factory import GetMessageClass
    from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
        ProtoReflectionDescriptorDatabase,
    )

    database = ProtoReflectionDescriptorDatabase(channel)
    services = set(database.get_services())
    names = ("Collection", "Item", "Search", "Decision", "Model", "Calibration")
    ours = {f"twindex.v1.{s}Service" for s in names}
    assert ours | {"google.longrunning.Operations"} < services, services
    method = DescriptorPool(database).FindServiceByName("twindex.v1.SearchService").methods_by_name["Search"]
    request = GetMessageClass(method.input_type)()
    request.collection, request.k = "py", 2
    request.probe.item_id = images[0].name
    call = channel.unary_unary(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=lambda m: m.SerializeToString(),
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    hits = call(request, timeout=10).hits
    assert len(hits) == 2 and images[0].name not in [h.id for h in hits], hits


def main():
    address, protos, *images = sys.argv[1:]
    images = [pathlib.Path(i) for i in images]
    stubs(pathlib.Path(protos))
    with grpc.insecure_channel(address) as channel:
        by_stubs(channel, images)
        by_small_messages(channel)
    # A channel of its own: nothing is known but what the server tells.
    with grpc.insecure_channel(address) as channel:
        by_reflection(channel, images)
    print("ok")


main()
