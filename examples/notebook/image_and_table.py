# A picture and an Arrow table, each a virtual file of marimo's: what the browser fetches from `/@file/…`.
import marimo

app = marimo.App()

with app.setup:
    import io

    import marimo as mo
    import numpy as np
    import pyarrow as pa
    from PIL import Image


@app.function
def png(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (200, 300, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "png")
    return out.getvalue()


@app.function
def arrow(seed, rows):
    table = pa.table({"row": np.arange(rows), "value": np.random.default_rng(seed).random(rows)})
    out = pa.BufferOutputStream()
    with pa.ipc.new_file(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue().to_pybytes()


@app.function
def download(data):
    return mo.download(data, filename="table.arrow", mimetype="application/vnd.apache.arrow.file")


@app.cell
def picture():
    mo.image(png(1))
    return


@app.cell
def table():
    download(arrow(1, 1_000_000))
    return


if __name__ == "__main__":
    app.run()
