package bootos

import (
	"context"
	"log/slog"
	"path/filepath"
)

// FetchKernel gets a kernel as [Build] does, for whoever needs one for something else, such as a test system. It
// returns the kernel's file and the directory of its modules; both are in the cache directory and must not be changed.
func FetchKernel(ctx context.Context, k Kernel, cacheDir string, log *slog.Logger) (image, modules string, err error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if cacheDir, err = filepath.Abs(cacheDir); err != nil {
		return "", "", err
	}
	src, err := openKernel(ctx, k, cacheDir, log)
	if err != nil {
		return "", "", err
	}
	if k.Modules != "" {
		return src.image, k.Modules, nil
	}
	return src.image, filepath.Join(filepath.Dir(src.image), "..", "lib", "modules", src.release), nil
}
