"""Measuring on another machine over SSH: one connection, one agent there, nothing left behind.

    here                                         ssh                    there
    measure ─► session ─► `ssh host` ── stdin: agent, files, orders ──► loader ─► keeper ─► worker (measures)
                                     ◄─ stdout: one JSON a line ───────           │
                                                                         one temporary folder, removed at the end

The whole exchange runs through the standard streams of one OpenSSH client, so that whatever the user's configuration says of
keys and jump hosts holds, and so that the end of the connection, for whatever reason, is the end of the stream: the keeper then
kills the worker and removes the folder. `loader`, `keeper`, `worker`, `trtexec` and `sensors` run on the device, out of one
zip file that `bundle` makes together with the modules that local measurements use; they need Python 3.10 and nothing else of
this package's dependencies but numpy and onnxruntime.
"""
