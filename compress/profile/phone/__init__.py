"""Measurement on an Android device over adb: a phone has no Python, so the benchmark program of a runtime times the files.

    this machine                          adb                           phone
    measure ─► session ─► `adb -s SERIAL push` ────────────► /data/local/tmp/compress-…, removed at the end
                          `adb -s SERIAL shell` ───────────► benchmark_model or onnxruntime_perf_test, in turns of the files
    quantities ◄─ benchmark_tools ◄─ printed times ─────────
    phone_state ◄─ getprop, dumpsys battery, thermal zones ─

Tests run it against a stand-in for `adb`; it has not been run on a phone, and its results say so.
"""
