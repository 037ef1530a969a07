#!/bin/sh
# Builds model.engine from model.onnx on this device and measures it. Written by compress; it has not been run.
# Needs trtexec of TensorRT on PATH. --stronglyTyped is required by TensorRT 10.x; 11.x is always strongly typed and ignores it.
# With --noDataTransfers the latency does not include copies between host and GPU; remove it to include them.
set -eu
cd "$(dirname "$0")"
exec trtexec \
  --onnx=model.onnx \
  --saveEngine=model.engine \
  --minShapes=input:1x3x64x64 \
  --optShapes=input:1x3x64x64 \
  --maxShapes=input:8x3x64x64 \
  --shapes=input:1x3x64x64 \
  --stronglyTyped \
  --memPoolSize=workspace:1024M \
  --builderOptimizationLevel=3 \
  --timingCacheFile=timing.cache \
  --profilingVerbosity=detailed \
  --sparsity=disable \
  --useCudaGraph \
  --useSpinWait \
  --noDataTransfers \
  --infStreams=1 \
  --iterations=100 \
  --warmUp=500 \
  --duration=10 \
  --avgRuns=1 \
  --percentile=50,90,99 \
  --separateProfileRun \
  --exportTimes=times.json \
  --exportProfile=layers.json \
  --exportLayerInfo=engine.json "$@"
