/* SPDX-License-Identifier: Apache-2.0 */
/// The picture codec of glc/codec.h for C and for every language that calls C: plain C11, opaque
/// handles, no exceptions. docs/embedding.md shows it at work.
///
///   glc_codec_decoder* decoder = NULL;
///   glc_codec_status status = glc_codec_decoder_create(model, model_size, &decoder);
///   status = glc_codec_size(data, size, NULL, &width, &height);
///   status = glc_codec_decode(decoder, data, size, NULL, pixels, 3 * width * height, NULL);
///   if (status != GLC_CODEC_OK) fprintf(stderr, "%s\n", glc_codec_last_error());
///   glc_codec_decoder_free(decoder);
///
///   status = glc_codec_encoder_create(model, model_size, &encoder);
///   status = glc_codec_encode(encoder, pixels, width, height, NULL, &file);
///   fwrite(glc_codec_file_data(file), 1, glc_codec_file_size(file), out);
///   glc_codec_file_free(file);
///   glc_codec_encoder_free(encoder);
///
/// Errors: whatever can go wrong is a status; nothing is printed, and no argument ends the process:
/// NULL where memory is needed, numbers out of range, hostile files and hostile models are all
/// answered. Outputs are written only on GLC_CODEC_OK, except pixels: after an error their content
/// is unspecified.
///
/// Memory: callers own all buffers, and inputs are borrowed for the call only. A *_free function
/// takes NULL.
///
/// Threads: encoders, decoders and files never change, and may be used by any number of threads at
/// once.
#ifndef GLC_CODEC_C_H_
#define GLC_CODEC_C_H_

/* NOLINTBEGIN(modernize-*,hicpp-*): this header is C */
#include <stddef.h>
#include <stdint.h>

/// Raised when a function or a type of this header changes incompatibly; names the shared library.
#define GLC_CODEC_ABI_VERSION 1

/// Pixels of the largest picture that is decoded unasked.
#define GLC_CODEC_MAX_PIXELS UINT64_C(178956970)

#if defined(_WIN32) && defined(GLC_CODEC_BUILD_SHARED)
#define GLC_CODEC_API __declspec(dllexport)
#elif defined(_WIN32) && defined(GLC_CODEC_USE_SHARED)
#define GLC_CODEC_API __declspec(dllimport)
#elif defined(GLC_CODEC_BUILD_SHARED)
#define GLC_CODEC_API __attribute__((visibility("default")))
#else
#define GLC_CODEC_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/// The classes of glc/error.h, and what C++ has exceptions of its own for.
typedef int32_t glc_codec_status;
enum {
  GLC_CODEC_OK = 0,
  GLC_CODEC_INVALID_ARGUMENT = 1,  ///< the caller's mistake
  GLC_CODEC_BITSTREAM_ERROR = 2,   ///< the file, or the model, is malformed or truncated
  GLC_CODEC_UNSUPPORTED = 3,       ///< valid, but another version wrote it
  GLC_CODEC_OUT_OF_MEMORY = 5,
  GLC_CODEC_INTERNAL_ERROR = 6,  ///< a bug of ours
  GLC_CODEC_CANCELLED = 7        ///< the caller's progress function said so
};

/// A model, ready to decode.
typedef struct glc_codec_decoder glc_codec_decoder;
/// A model, ready to encode.
typedef struct glc_codec_encoder glc_codec_encoder;
/// The bytes of a .glc file.
typedef struct glc_codec_file glc_codec_file;

/// Told the fraction of a call's work that is done: 0 first, never less than before, 1 last, unless
/// the call fails; and the options' `user`. It is called by the thread that made the call, a few
/// dozen times for a picture of up to 8 megapixels. Another answer than 0 ends the call with
/// GLC_CODEC_CANCELLED; encoder and decoder stay as they were.
typedef int (*glc_codec_progress)(void* user, double done);

/// How to decode; where a pointer to it is NULL, as glc_codec_decode_defaults() says.
typedef struct glc_codec_decode_options {
  uint64_t max_pixels;  ///< refuse a file that claims more
  int32_t until;        ///< parts to use behind the hyper indices, 0..4; each makes it better
  int32_t partial;      ///< not 0: draw a file that was cut, or whose checksum is wrong, as far as
                        ///< its parts are whole
  glc_codec_progress progress;  ///< told how far glc_codec_decode has come; NULL: nobody is
  void* user;                   ///< handed to progress
} glc_codec_decode_options;

/// GLC_CODEC_MAX_PIXELS, all parts, whole files only, no progress.
static inline glc_codec_decode_options glc_codec_decode_defaults(void) {
  const glc_codec_decode_options options = {GLC_CODEC_MAX_PIXELS, 4, 0, NULL, NULL};
  return options;
}

/// How far a picture can be relied upon.
typedef struct glc_codec_restored {
  int32_t n_parts;   ///< parts that were used, 0..4
  int32_t verified;  ///< 1: the checksum was found right
} glc_codec_restored;

/// How to encode; where a pointer to it is NULL, as glc_codec_encode_defaults() says.
typedef struct glc_codec_encode_options {
  double quality;         ///< 0 (smallest file) to 3, rounded to a 21st
  uint64_t target_bytes;  ///< not 0: instead, the size not to exceed
  uint32_t tile;  ///< code squares of so many pixels independently; 0 codes the picture whole
  glc_codec_progress progress;  ///< told how far glc_codec_encode has come; NULL: nobody is
  void* user;                   ///< handed to progress
} glc_codec_encode_options;

/// Quality 2, in one piece, no progress.
static inline glc_codec_encode_options glc_codec_encode_defaults(void) {
  const glc_codec_encode_options options = {2.0, 0, 0, NULL, NULL};
  return options;
}

/// GLC_CODEC_ABI_VERSION of the library that runs; a caller may compare it with its header's.
GLC_CODEC_API uint32_t glc_codec_abi_version(void);
/// Library version, for example "0.1.0".
GLC_CODEC_API const char* glc_codec_version(void);
/// What went wrong in this thread's last call that returned an error, at most 255 characters; ""
/// before the first. Valid until the thread's next error.
GLC_CODEC_API const char* glc_codec_last_error(void);

/// Threads that one call may use, the calling one included: at first GLC_NUM_THREADS of the
/// environment, or the CPUs that this process may run on. 0 when GLC_NUM_THREADS is no number from
/// 1 to 256: then encoding and decoding answer GLC_CODEC_INVALID_ARGUMENT.
GLC_CODEC_API int32_t glc_codec_threads(void);
/// Sets it for the process, from 1 to 256.
GLC_CODEC_API glc_codec_status glc_codec_set_threads(int32_t n);

/// Takes a model: model [size] is a file that `glc export` wrote, and is copied.
GLC_CODEC_API glc_codec_status glc_codec_decoder_create(const uint8_t* model,
                                                        size_t size,
                                                        glc_codec_decoder** decoder);
GLC_CODEC_API void glc_codec_decoder_free(glc_codec_decoder* decoder);

/// Writes the sides of the picture of a file: data [size]. Needs no model.
GLC_CODEC_API glc_codec_status glc_codec_size(const uint8_t* data,
                                              size_t size,
                                              const glc_codec_decode_options* options,
                                              uint32_t* width,
                                              uint32_t* height);

/// Draws the picture of a file: data [size] -> pixels [height, width, 3] uint8, sRGB; capacity is
/// 3 * width * height. restored may be NULL.
GLC_CODEC_API glc_codec_status glc_codec_decode(const glc_codec_decoder* decoder,
                                                const uint8_t* data,
                                                size_t size,
                                                const glc_codec_decode_options* options,
                                                uint8_t* pixels,
                                                size_t capacity,
                                                glc_codec_restored* restored);

/// Takes a model: model [size] is a file that `glc export --encoder` wrote, and is copied.
GLC_CODEC_API glc_codec_status glc_codec_encoder_create(const uint8_t* model,
                                                        size_t size,
                                                        glc_codec_encoder** encoder);
GLC_CODEC_API void glc_codec_encoder_free(glc_codec_encoder* encoder);

/// Makes the file of a picture: pixels [height, width, 3] uint8, sRGB. GLC_CODEC_INVALID_ARGUMENT
/// also says that the model cannot code the picture, or not within target_bytes.
GLC_CODEC_API glc_codec_status glc_codec_encode(const glc_codec_encoder* encoder,
                                                const uint8_t* pixels,
                                                uint32_t width,
                                                uint32_t height,
                                                const glc_codec_encode_options* options,
                                                glc_codec_file** file);
/// Its bytes, which live as long as it; NULL and 0 for NULL.
GLC_CODEC_API const uint8_t* glc_codec_file_data(const glc_codec_file* file);
GLC_CODEC_API size_t glc_codec_file_size(const glc_codec_file* file);
GLC_CODEC_API void glc_codec_file_free(glc_codec_file* file);

#ifdef __cplusplus
} /* extern "C" */
#endif
/* NOLINTEND(modernize-*,hicpp-*) */

#endif /* GLC_CODEC_C_H_ */
