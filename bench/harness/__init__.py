"""What `bench/run` is made of: inputs, turns and measuring, the report and its plots."""
