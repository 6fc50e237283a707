// What the pages of the tests have: tus-js-client and Uppy, bundled by esbuild.

import Uppy from "@uppy/core";
import UppyTus from "@uppy/tus";
import * as tus from "tus-js-client";

// A file as a person would choose it; the same one after a reload.
async function file(name, path) {
  const content = await (await fetch(path)).blob();
  return new File([content], name, { type: "application/pdf", lastModified: 1_000_000 });
}

// Uploads with tus-js-client; resolves to the upload's URL, or to null once it is paused.
async function upload(name, path, { pauseAt, ...options }) {
  const chosen = await file(name, path);
  return new Promise((resolve, reject) => {
    const upload = new tus.Upload(chosen, {
      metadata: { filename: chosen.name, filetype: chosen.type },
      ...options,
      onProgress: (sent) => {
        if (pauseAt && sent >= pauseAt) upload.abort().then(() => resolve(null));
      },
      onError: (error) => reject(error),
      onSuccess: () => resolve(upload.url),
    });
    upload.findPreviousUploads().then((previous) => {
      window.previous = previous.length;
      if (previous.length) upload.resumeFromPreviousUpload(previous[0]);
      upload.start();
    });
  });
}

// Uploads with Uppy; resolves to the upload's URL.
async function uploadWithUppy(name, path, options) {
  const uppy = new Uppy({ autoProceed: false }).use(UppyTus, options);
  const chosen = await file(name, path);
  uppy.addFile({ name: chosen.name, type: chosen.type, data: chosen });
  const result = await uppy.upload();
  if (result.failed.length) throw result.failed[0].error;
  return result.successful[0].uploadURL;
}

Object.assign(window, { upload, uploadWithUppy });
