(set-logic QF_NRA)
(declare-fun x6 () Real)
(declare-fun x3 () Real)
(declare-fun x2 () Real)
(declare-fun x9 () Real)
(declare-fun x8 () Real)
(declare-fun x7 () Real)
(declare-fun x4 () Real)
(declare-fun x1 () Real)
(declare-fun x0 () Real)
(declare-fun x5 () Real)
(declare-fun x14 () Real)
(declare-fun x13 () Real)
(declare-fun x10 () Real)
(declare-fun x11 () Real)
(declare-fun x12 () Real)
(assert
 (let ((?x223 (* x2 x2 x2 x2 x3)))
 (let ((?x266 (+ ?x223 (* 2.0 x2 x2 x3 x3 x6) (* (- 1.0) x2 x2 x2 x7 x7) (* (- 2.0) x2 x3 x6 x7 x7) (* (- 4.0) x2 x2 x2 x3 x8) (* (- 2.0) x2 x3 x3 x6 x8) (* 2.0 x2 x2 x7 x7 x8) (* 3.0 x2 x2 x3 x8 x8) (* 2.0 x2 x2 x3 x7 x9) (* 2.0 x3 x3 x6 x7 x9) (* (- 2.0) x2 x3 x7 x8 x9) (* (- 1.0) x2 x3 x3 x9 x9))))
 (let ((?x222 (* x2 x3 x3 x9 x9)))
 (let ((?x295 (* x2 x2 x2 x7 x7)))
 (let ((?x370 (+ (* (- 1.0) x2 x2 x2 x2 x3) (* (- 2.0) x2 x2 x3 x3 x6) ?x295 (* 2.0 x2 x3 x6 x7 x7) (* 4.0 x2 x2 x2 x3 x8) (* 2.0 x2 x3 x3 x6 x8) (* (- 2.0) x2 x2 x7 x7 x8) (* (- 3.0) x2 x2 x3 x8 x8) (* (- 2.0) x2 x2 x3 x7 x9) (* (- 2.0) x3 x3 x6 x7 x9) (* 2.0 x2 x3 x7 x8 x9) ?x222)))
 (let ((?x100 (* x0 x2 x2)))
 (let ((?x344 (+ (* (- 1.0) x1 x1 x2) ?x100 (* x3 x4 x4) (* (- 2.0) x2 x4 x5) (* (- 1.0) x0 x3 x6) (* 2.0 x1 x4 x7))))
 (or (< 0.0 ?x344) (or (< 0.0 ?x370) (< 0.0 ?x266)) (< 0.0 (+ (* x2 x2) (* (- 1.0) x3 x6))))))))))))
(assert
 (and (= 0.0 (* (- 1.0) x9)) (= 0.0 (* (- 1.0) x7)) (= 0.0 (+ x2 (* (- 1.0) x8)))))
(assert
 (<= 0.0 (+ x2 (- 3.0))))
(assert
 (<= 0.0 (+ (* x0 x3) (* (- 1.0) x5 x5))))
(assert
 (<= 0.0 (+ (* x3 x6) (* (- 1.0) x8 x8))))
(assert
 (<= 0.0 (+ (* x2 x3) (* (- 1.0) x7 x7))))
(assert
 (let ((?x220 (* (- 1.0) x2 x3 x14)))
 (let ((?x230 (* (- 1.0) x10 x10 x13 x13)))
 (let ((?x334 (* x2 x3 x13 x13)))
 (<= 0.0 (+ ?x334 ?x230 ?x220))))))
(assert
 (<= 0.0 (+ (* (- 1.0) x4 x4) (* x0 x6))))
(assert
 (<= 0.0 (+ (* (- 1.0) x1 x1) (* x0 x2))))
(assert
 (let ((?x177 (* (- 1.0) x0 x2 x14)))
 (let ((?x358 (* (- 1.0) x11 x11 x13 x13)))
 (let ((?x373 (* x0 x2 x13 x13)))
 (<= 0.0 (+ ?x373 ?x358 ?x177))))))
(assert
 (<= 0.0 (+ (* x2 x6) (* (- 1.0) x9 x9))))
(assert
 (let ((?x40 (* (- 1.0) x2 x6 x14)))
 (let ((?x324 (* (- 1.0) x12 x12 x13 x13)))
 (let ((?x191 (* x2 x6 x13 x13)))
 (<= 0.0 (+ ?x191 ?x324 ?x40))))))
(assert
 (let ((?x188 (+ (* x13 x13) (* (- 1.0) x14))))
 (<= 0.0 ?x188)))
(assert
 (let ((?x78 (* x0 x3 x6)))
 (let ((?x202 (+ (* (- 1.0) x3 x4 x4) ?x78 (* (- 1.0) x5 x5 x6) (* 2.0 x4 x5 x8) (* (- 1.0) x0 x8 x8))))
 (<= 0.0 ?x202))))
(assert
 (let ((?x28 (* x0 x2 x3)))
 (let ((?x80 (+ (* (- 1.0) x1 x1 x3) ?x28 (* (- 1.0) x2 x5 x5) (* 2.0 x1 x5 x7) (* (- 1.0) x0 x7 x7))))
 (<= 0.0 ?x80))))
(assert
 (let ((?x57 (* x0 x2 x3 x13 x13)))
 (let ((?x125 (+ ?x57 (* (- 1.0) x2 x5 x5 x13 x13) (* (- 1.0) x0 x10 x10 x13 x13) (* 2.0 x5 x10 x11 x13 x13) (* (- 1.0) x3 x11 x11 x13 x13) (* (- 1.0) x0 x2 x3 x14) (* x2 x5 x5 x14))))
 (<= 0.0 ?x125))))
(assert
 (let ((?x260 (* x2 x3 x6)))
 (let ((?x77 (+ ?x260 (* (- 1.0) x6 x7 x7) (* (- 1.0) x2 x8 x8) (* 2.0 x7 x8 x9) (* (- 1.0) x3 x9 x9))))
 (<= 0.0 ?x77))))
(assert
 (let ((?x350 (+ (* x2 x3 x6 x13 x13) (* (- 1.0) x2 x8 x8 x13 x13) (* (- 1.0) x6 x10 x10 x13 x13) (* 2.0 x8 x10 x12 x13 x13) (* (- 1.0) x3 x12 x12 x13 x13) (* (- 1.0) x2 x3 x6 x14) (* x2 x8 x8 x14))))
 (<= 0.0 ?x350)))
(assert
 (let ((?x58 (* x7 x7 x14)))
 (let ((?x220 (* (- 1.0) x2 x3 x14)))
 (let ((?x230 (* (- 1.0) x10 x10 x13 x13)))
 (let ((?x334 (* x2 x3 x13 x13)))
 (<= 0.0 (+ ?x334 (* (- 1.0) x7 x7 x13 x13) ?x230 ?x220 ?x58)))))))
(assert
 (let ((?x284 (* x0 x2 x6)))
 (let ((?x90 (+ (* (- 1.0) x2 x4 x4) (* (- 1.0) x1 x1 x6) ?x284 (* 2.0 x1 x4 x9) (* (- 1.0) x0 x9 x9))))
 (<= 0.0 ?x90))))
(assert
 (let ((?x142 (+ (* (- 1.0) x2 x4 x4 x13 x13) (* x0 x2 x6 x13 x13) (* (- 1.0) x6 x11 x11 x13 x13) (* 2.0 x4 x11 x12 x13 x13) (* (- 1.0) x0 x12 x12 x13 x13) (* x2 x4 x4 x14) (* (- 1.0) x0 x2 x6 x14))))
 (<= 0.0 ?x142)))
(assert
 (let ((?x177 (* (- 1.0) x0 x2 x14)))
 (let ((?x229 (* x1 x1 x14)))
 (let ((?x358 (* (- 1.0) x11 x11 x13 x13)))
 (let ((?x373 (* x0 x2 x13 x13)))
 (<= 0.0 (+ (* (- 1.0) x1 x1 x13 x13) ?x373 ?x358 ?x229 ?x177)))))))
(assert
 (let ((?x14 (* x9 x9 x14)))
 (let ((?x40 (* (- 1.0) x2 x6 x14)))
 (let ((?x324 (* (- 1.0) x12 x12 x13 x13)))
 (let ((?x191 (* x2 x6 x13 x13)))
 (<= 0.0 (+ ?x191 (* (- 1.0) x9 x9 x13 x13) ?x324 ?x40 ?x14)))))))
(assert
 (let ((?x188 (+ (* x13 x13) (* (- 1.0) x14))))
 (<= 0.0 ?x188)))
(assert
 (<= 0.0 x0))
(assert
 (< 0.0 x2))
(assert
 (<= 0.0 x3))
(assert
 (<= 0.0 x6))
(assert
 (< 0.0 x13))
(assert
 (<= 0.0 x14))
(check-sat)
