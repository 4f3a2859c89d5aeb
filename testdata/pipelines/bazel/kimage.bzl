"""A FIT from its source. Bazel wants every input named; a build with one missing fails, it does not go stale."""

def fit(name, src, data, out = None, options = []):
    """name: target; src: the .its; data: the files that it names; options: of `kimage fit`, such as ["-E"]."""
    native.genrule(
        name = name,
        srcs = [src] + data,
        outs = [out or name + ".itb"],
        # SOURCE_DATE_EPOCH is not set, so the time in the image is 0: the same on every machine.
        cmd = "$(execpath //tools:kimage) fit $(execpath {}) -o $@ --quiet {}".format(src, " ".join(options)),
        tools = ["//tools:kimage"],
    )
