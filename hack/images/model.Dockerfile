# A model's files in one layer, to be mounted as an image volume.
FROM scratch
COPY model /
