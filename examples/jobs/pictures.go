package main

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"math"
	"math/rand/v2"
)

// largest is the largest width and height of an upload.
const largest = 4000

// decoded decodes an upload. It looks at the size first, because a small file can be a huge picture.
func decoded(data []byte) (image.Image, error) {
	cfg, kind, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("not a PNG, JPEG or GIF picture: %w", err)
	}
	if cfg.Width > largest || cfg.Height > largest {
		return nil, fmt.Errorf("the %s has %d x %d pixels, more than %d", kind, cfg.Width, cfg.Height, largest)
	}
	img, _, err := image.Decode(bytes.NewReader(data))
	return img, err
}

// generated paints waves around a few centers.
func generated(seed uint64) image.Image {
	const side = 384
	r := rand.New(rand.NewPCG(seed, 7))
	type center struct{ x, y, wave float64 }
	var centers [3]center
	for i := range centers {
		centers[i] = center{r.Float64() * side, r.Float64() * side, 12 + r.Float64()*50}
	}
	img := image.NewRGBA(image.Rect(0, 0, side, side))
	for y := range side {
		for x := range side {
			var c [3]uint8
			for i, o := range centers {
				c[i] = uint8(128 + 120*math.Sin(math.Hypot(float64(x)-o.x, float64(y)-o.y)/o.wave))
			}
			img.SetRGBA(x, y, color.RGBA{c[0], c[1], c[2], 255})
		}
	}
	return img
}

// shrunk returns a picture of a width. Each pixel is the mean of some of those it covers.
func shrunk(img image.Image, width int) image.Image {
	from := img.Bounds()
	height := max(1, from.Dy()*width/max(1, from.Dx()))
	height = min(height, 4*width)
	out := image.NewRGBA(image.Rect(0, 0, width, height))
	const grid = 3 // samples in each direction
	for y := range height {
		for x := range width {
			var sum [4]uint32
			for i := range grid * grid {
				sx := from.Min.X + (x*grid+i%grid)*from.Dx()/(width*grid)
				sy := from.Min.Y + (y*grid+i/grid)*from.Dy()/(height*grid)
				r, g, b, a := img.At(sx, sy).RGBA()
				for k, v := range [4]uint32{r, g, b, a} {
					sum[k] += v >> 8
				}
			}
			mean := func(k int) uint8 { return uint8(sum[k] / (grid * grid)) }
			out.SetRGBA(x, y, color.RGBA{mean(0), mean(1), mean(2), mean(3)})
		}
	}
	return out
}
