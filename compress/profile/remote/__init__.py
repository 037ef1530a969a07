"""Measurement on another machine over SSH: one connection, and an agent on the device that removes all its files.

    this machine                                 ssh                    device
    measure ─► session ─► `ssh host` ── stdin: agent, files, orders ──► bootstrap ─► server ─► worker (measures)
                                     ◄─ stdout: one JSON per line ─────           │
                                                                         one temporary folder, removed at the end

All data go through the standard streams of one OpenSSH client. So the user's configuration of keys and jump hosts applies, and
the end of the connection, for any reason, ends the stream: the server then kills the worker and removes the folder.
`agent_bootstrap`, `agent_server`, `agent_worker`, `agent_sensors` and `trtexec` run on the device, from a zip file that
`agent_zip` builds together with modules of the local measurement. They need Python 3.10, numpy and onnxruntime.
"""
