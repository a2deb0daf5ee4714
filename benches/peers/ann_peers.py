"""The peers of our index: how each is built, and the settings it may be asked with.

A builder takes rows, the metric and threads, and gives a function that answers all queries with
a setting by one thread. The graphs get all queries in one call and loop inside their library;
the quantisers are asked one query at a time, or a batch of queries would share a scan.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

K = 10
M, EF_CONSTRUCTION = 16, 200


def hnswlib_graph(base, metric, threads):
    import hnswlib

    index = hnswlib.Index(metric, base.shape[1])
    index.init_index(len(base), M=M, ef_construction=EF_CONSTRUCTION)
    index.add_items(base, num_threads=threads)

    def search(queries, ef):
        index.set_ef(ef)
        return index.knn_query(queries, K, num_threads=1)[0]

    return search


def usearch_graph(base, metric, threads):
    from usearch.index import Index

    index = Index(
        ndim=base.shape[1],
        metric={"l2": "l2sq", "ip": "ip"}[metric],
        dtype="f32",
        connectivity=M,
        expansion_add=EF_CONSTRUCTION,
    )
    index.add(None, base, threads=threads)

    def search(queries, ef):
        index.expansion_search = ef
        return index.search(queries, K, threads=1).keys

    return search


def faiss_metric(metric):
    import faiss

    return {"l2": faiss.METRIC_L2, "ip": faiss.METRIC_INNER_PRODUCT}[metric]


def faiss_fill(index, base, threads):
    import faiss

    faiss.omp_set_num_threads(threads)
    index.train(base)
    index.add(base)
    faiss.omp_set_num_threads(1)


def faiss_graph(base, metric, threads):
    import faiss

    index = faiss.IndexHNSWFlat(base.shape[1], M, faiss_metric(metric))
    index.hnsw.efConstruction = EF_CONSTRUCTION
    faiss_fill(index, base, threads)

    def search(queries, ef):
        index.hnsw.efSearch = ef
        return index.search(queries, K)[1]

    return search


def faiss_graph_of_bytes(base, metric, threads):
    import faiss

    kind = faiss.ScalarQuantizer.QT_8bit
    graph = faiss.IndexHNSWSQ(base.shape[1], kind, M, faiss_metric(metric))
    graph.hnsw.efConstruction = EF_CONSTRUCTION
    index = faiss.IndexRefineFlat(graph)
    faiss_fill(index, base, threads)

    def search(queries, ef):
        graph.hnsw.efSearch = ef
        # A byte a value errs little: more than forty candidates are ranked for nothing.
        index.k_factor = min(ef, 40) / K
        return index.search(queries, K)[1]

    return search


def faiss_codes(base, metric, threads, coarse):
    """Four bits for each two to four values, scanned by FastScan."""
    import faiss

    dim = base.shape[1]
    width = next(w for w in ((4, 3, 2, 1) if dim >= 256 else (2, 1)) if dim % w == 0)
    index = faiss.index_factory(dim, f"{coarse}PQ{dim // width}x4fs,RFlat", faiss_metric(metric))
    faiss_fill(index, base, threads)
    return index


def faiss_lists(base, metric, threads):
    import faiss

    index = faiss_codes(base, metric, threads, f"IVF{max(16, round(len(base) ** 0.5))},")
    lists = faiss.downcast_index(index.base_index)

    def search(queries, setting):
        lists.nprobe, index.k_factor = setting[0], setting[1] / K
        return [index.search(query[None], K)[1][0] for query in queries]

    return search


def faiss_flat(base, metric, threads):
    index = faiss_codes(base, metric, threads, "")

    def search(queries, ranked):
        index.k_factor = ranked / K
        return [index.search(query[None], K)[1][0] for query in queries]

    return search


def scann_lists(base, metric, threads):
    from scann import scann_ops_pybind

    rows, dim = base.shape
    inner = metric == "ip"
    builder = scann_ops_pybind.builder(base, K, "dot_product" if inner else "squared_l2")
    builder.set_n_training_threads(threads)
    builder.tree(
        num_leaves=round(rows**0.5) if rows < 100_000 else max(1000, round(rows**0.5)),
        num_leaves_to_search=LISTS[0],
        training_sample_size=rows,
        quantize_centroids=True,
        soar_lambda=1.5 if inner else None,
    )
    # What its authors advise for inner products does not apply to distances.
    threshold = 0.2 if inner else math.nan
    builder.score_ah(4 if dim >= 256 else 2, anisotropic_quantization_threshold=threshold)
    index = builder.reorder(RANKED[0]).build()
    index.set_num_threads(1)

    def search(queries, setting):
        lists, ranked = setting
        return [index.search(query, K, ranked, lists)[0] for query in queries]

    return search


class Peer(NamedTuple):
    title: str
    module: str
    build: Callable
    # Settings in rows, of which each is slower and finds more from left to right.
    ladders: list
    graph: bool = False


EF = [10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2560, 4096]
# Of the quantisers: how many of the lists are read, and how many candidates are ranked exactly.
LISTS = [2, 4, 6, 10, 16, 24, 36, 60, 100, 160, 250, 400, 630]
RANKED = [20, 30, 40, 60, 80, 160, 400, 1000]
GRID = [[[lists, ranked] for lists in LISTS] for ranked in RANKED]

PEERS = {
    "hnswlib": Peer("hnswlib", "hnswlib", hnswlib_graph, [EF], True),
    "faiss": Peer("faiss HNSW", "faiss", faiss_graph, [EF], True),
    "faiss_sq8": Peer("faiss HNSW SQ8", "faiss", faiss_graph_of_bytes, [EF], True),
    "usearch": Peer("usearch", "usearch.index", usearch_graph, [EF], True),
    "faiss_ivf": Peer("faiss IVF FastScan", "faiss", faiss_lists, GRID),
    "faiss_flat": Peer("faiss flat FastScan", "faiss", faiss_flat, [[*RANKED, 2000]]),
    "scann": Peer("ScaNN", "scann", scann_lists, GRID),
}
