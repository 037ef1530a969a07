"""Images with boxes: readers of COCO, Pascal VOC and YOLO annotations, and drawn scenes."""
