"""Measuring on another machine over SSH: one connection, one agent on the device, nothing left behind.

    here                                         ssh                    there
    measure ─► session ─► `ssh host` ── stdin: agent, files, orders ──► bootstrap ─► server ─► worker (measures)
                                     ◄─ stdout: one JSON a line ───────           │
                                                                         one temporary folder, removed at the end

The whole exchange runs through the standard streams of one OpenSSH client, so that the user's configuration of keys and
jump hosts applies, and so that the end of the connection, for any reason, is the end of the stream: the server then kills
the worker and removes the folder. `agent_bootstrap`, `agent_server`, `agent_worker`, `agent_sensors` and `trtexec` run on the
device, out of one zip file that `agent_zip` makes together with the modules that local measurements use; they need Python 3.10
and, of this package's dependencies, only numpy and onnxruntime.
"""
