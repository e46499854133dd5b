from support import World


def test_all(sampled: World) -> None:
    m = sampled.done(sampled.sample_spec("out/samples2"))
    assert m["counts"] == {"total": 4, "generated": 0, "reused": 4}
    for i in range(2):
        t = sampled.done(sampled.train_spec(f"out/train{i}", sampled.pairs()))
        print(t["word"])
    idx = sampled.put_lines("in/t.jsonl", sampled.index(sampled.sampling()))
    from spatialalign_wan.tracking.blobs import ColourBlobs

    d = ColourBlobs().identity
    t = sampled.done(
        sampled.spec(
            "track",
            "out/track",
            {"prompts": sampled.prompts, "index": idx, "detector": {"name": d.name, "digest": d.digest, "revision": d.revision}},
        ),
        WAN_DETECTOR="colour-blobs",
    )
    print(t)
